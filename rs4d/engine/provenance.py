"""On what machine and by what code something was run: what a figure is worth little without."""

import functools
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mmdet
import torch


def processor_name() -> str:
    """The processor's name as Linux gives it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


def machine() -> str:
    """Name the devices that this process computes with, such as ``2 threads of an AMD EPYC 9R14``."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    number = torch.get_num_threads()
    return f'{number} {"thread" if number == 1 else "threads"}, {processor_name()}'


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that this package lies in, with ``+`` if files differ from it.

    Returns:
        Twelve digits; None where the package is installed without a checkout, or git is not here.
    """
    package = Path(__file__).parents[1]
    if not (package.parent / '.git').exists():
        return None
    try:
        found = _git(package, 'rev-parse', '--short=12', 'HEAD')
        changed = _git(package, 'status', '--porcelain', '--untracked-files=no')
    except (OSError, subprocess.SubprocessError):
        return None
    return found + ('+' if changed else '')


def versions() -> dict[str, str]:
    """Of what decides numbers."""
    return dict(
        rs4d=version('rs4d'),
        python=platform.python_version(),
        torch=str(torch.__version__),  # of a class of its own, which no checkpoint should ask for
        mmdet=mmdet.__version__,
    )


def origin() -> dict[str, Any]:
    """Machine, commit and versions, as they are written beside figures."""
    return dict(machine=machine(), commit=commit(), versions=versions())


def _git(folder: Path, *words: str) -> str:
    command = ['git', '-C', os.fspath(folder), *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return result.stdout.strip()
