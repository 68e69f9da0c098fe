"""Peak memory of one step, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import torch

from .encoders import build_encoder
from .steps import make_step

MIB = 2**20


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

    Raises:
        RuntimeError: If the process failed for another reason.
    """
    flags = [name, str(side), str(int(training)), str(int(with_cp)), str(torch.get_num_threads())]
    root = Path(__file__).parents[2]
    command = [sys.executable, '-W', 'ignore', '-m', 'rs4d.analysis.benchmark.memory', *flags]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    if result.returncode < 0 or 'not enough memory' in result.stderr:
        return None
    if result.returncode:
        raise RuntimeError(f'Measuring {name} at {side} failed:\n{result.stderr[-2000:]}')
    return float(result.stdout.strip().splitlines()[-1])


def status_mib(field: str) -> float:
    """Read a size of this process.

    ``ru_maxrss`` would not do: it remembers the parent's peak.

    Args:
        field: A line of ``/proc/self/status``: ``'VmRSS'``, ``'VmHWM'``.

    Returns:
        MiB.

    Raises:
        RuntimeError: If there is no such line, as on other systems than Linux.
    """
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024 / MIB
    raise RuntimeError(f'/proc/self/status has no {field}; memory is measured on Linux only.')


def _measure(name: str, side: str, training: str, with_cp: str, threads: str) -> float:
    torch.set_num_threads(int(threads))
    before = status_mib('VmRSS')
    model = build_encoder(name, int(side))
    if int(with_cp):
        setattr(model, 'with_cp', True)  # noqa: B010 - only some encoders have it
    make_step(model, int(side), bool(int(training)))()
    return status_mib('VmHWM') - before


if __name__ == '__main__':
    sys.stdout.write(f'{_measure(*sys.argv[1:])}\n')
