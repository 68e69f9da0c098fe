"""Peak memory, measured in a process of its own."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from rs4d.errors import ConfigError, ran_out_of_memory

from .encoders import build_encoder
from .steps import make_step

MIB = 2**20


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a process that has done nothing before.

    Args:
        function: One that a module has by its name.
        *args: Its arguments.

    Returns:
        What it returns, or None if the process ran out of memory.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
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

    A fresh process imports everything, notes its resident memory, builds the encoder and takes one
    step; the result is the highest resident memory less the one before building. It therefore
    holds weights, activations, gradients and the kernels' scratch, but not the libraries.

    Args:
        name: Encoder, a key of ``rs4d.analysis.benchmark.encoders.ENCODERS``.
        side: Input side in pixels.
        training: Forward and backward instead of inference.
        with_cp: Activation checkpointing, for `RSMamba`.

    Returns:
        MiB, or None if the process was ended for want of memory.
    """
    return in_fresh_process(_measure, name, side, training, with_cp, torch.get_num_threads())


def status_mib(field: str) -> float:
    """Read a size of this process.

    ``ru_maxrss`` would not do: it remembers the parent's peak.

    Args:
        field: A line of ``/proc/self/status``: ``'VmRSS'``, ``'VmHWM'``.

    Returns:
        MiB.

    Raises:
        ConfigError: If there is no such line, as on other systems than Linux.
    """
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024 / MIB
    raise ConfigError(f'/proc/self/status has no {field}; memory is measured on Linux only.')


def _measure(name: str, side: int, training: bool, with_cp: bool, threads: int) -> float:
    torch.set_num_threads(threads)
    before = status_mib('VmRSS')
    model = build_encoder(name, side)
    if with_cp:
        setattr(model, 'with_cp', True)  # noqa: B010 - only some encoders have it
    make_step(model, side, training)()
    return status_mib('VmHWM') - before
