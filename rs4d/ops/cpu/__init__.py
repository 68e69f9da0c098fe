"""The `cpu` engine: C++ kernels, forward and backward, for float32 on CPU; sources in ``csrc``."""

from . import library
from .blocks import mix_blocks
from .conv import conv_silu
from .mixer import add_mixed
from .scan import scan

__all__ = ['add_mixed', 'conv_silu', 'mix_blocks', 'scan', 'unavailable_reason']

# Found out once, at import: torch.compile traces the choice of an engine, but not a look at files.
_UNAVAILABLE = library.unavailable_reason()


def unavailable_reason() -> str | None:
    """Return why the engine cannot run here, or None if it can."""
    return _UNAVAILABLE
