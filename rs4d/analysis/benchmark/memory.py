"""Peak memory, measured in a process of its own."""

import contextlib
import multiprocessing
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from rs4d.errors import ConfigError, ran_out_of_memory

from .encoders import build_encoder, make_step


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a module's function in a process of its own, with as many threads as this one.

    Returns:
        What it returns, or None if the process ran out of memory.
    """
    threads = (torch.get_num_threads(),)
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, spawn, torch.set_num_threads, threads) as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool:
            return None
        except (RuntimeError, MemoryError) as error:
            if ran_out_of_memory(error):
                return None
            raise


def peak_memory(name: str, side: int, training: bool, with_cp: bool = False) -> float | None:
    """Measure the peak memory of one step of an encoder, batch 1, on the CPU.

    It is the highest resident memory of a fresh process less the one before building: weights,
    activations, gradients and the kernels' scratch, but not the libraries.

    Returns:
        MiB, or None if the process was ended for want of memory.
    """
    return in_fresh_process(_measure, name, side, training, with_cp)


def status_mib(field: str, process: int | str = 'self') -> float:
    """Read a size of a process from its ``/proc/.../status``, such as ``'VmRSS'``, in MiB.

    ``ru_maxrss`` would not do: it remembers the parent's peak.

    Raises:
        ConfigError: This system is not Linux.
    """
    status = Path('/proc', str(process), 'status')
    if not status.is_file():
        raise ConfigError('Memory is measured on Linux only; elsewhere, --no-memory leaves it out.')
    sizes = dict(line.split(':', 1) for line in status.read_text().splitlines())
    return int(sizes[field].split()[0]) / 1024


def peak_of(process: subprocess.Popen, interval: float = 0.05) -> float:
    """Wait for a process, and return the most resident memory that it was seen with, in MiB.

    Args:
        process: Just started.
        interval: Seconds between two looks; a peak in the very last of them may be missed.

    Raises:
        ConfigError: This system is not Linux.
    """
    peak = 0.0
    while process.poll() is None:
        # A process that has ended and was not waited for yet has no such line.
        with contextlib.suppress(KeyError):
            peak = max(peak, status_mib('VmHWM', process.pid))
        time.sleep(interval)
    return peak


def _measure(name: str, side: int, training: bool, with_cp: bool) -> float:
    before = status_mib('VmRSS')
    model = build_encoder(name, side, with_cp)
    make_step(model, side, training)()
    return status_mib('VmHWM') - before
