"""The `triton` engine: NVIDIA GPUs with nothing to build.

With ``TRITON_INTERPRET=1``, set before Triton is first imported, the same kernels run on CPU tensors,
slowly, for tests and for finding faults.
"""

import importlib.util
import os

import torch

from .scan import scan

__all__ = ['DEVICE', 'scan', 'unavailable_reason']

# Found out once, at import: torch.compile traces the choice of an engine.
_INSTALLED = importlib.util.find_spec('triton') is not None
_INTERPRETED = os.environ.get('TRITON_INTERPRET', '0').lower() in ('1', 'true', 'yes', 'on')
DEVICE = 'cpu' if _INTERPRETED else 'cuda'


def unavailable_reason() -> str | None:
    """Return why the engine cannot run here, or None if it can."""
    if not _INSTALLED:
        return (
            "Triton is not installed. It comes with PyTorch's builds for NVIDIA GPUs on Linux; "
            'install one of those, or "pip install triton".'
        )
    if not _INTERPRETED and not torch.cuda.is_available():
        return 'PyTorch finds no GPU here. (TRITON_INTERPRET=1 runs the kernels on the CPU, for tests.)'
    return None
