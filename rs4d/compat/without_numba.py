"""MMDetection without Numba, which its imports would bring into every process and nothing calls.

It imports imagecorruptions, which needs Numba, for a transform that it no longer has, and imgaug, which
takes Numba where it is installed and does without it elsewhere. Numba and its compiler hold 95 MiB.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_transforms_without_numba() -> None:
    """Import MMDetection's transforms as where Numba and imagecorruptions are not installed.

    Both can be imported afterwards. What has been imported before stays as it is.
    """
    with _not_installed('numba'):
        importlib.import_module('imgaug')
    with _not_installed('imagecorruptions'):
        importlib.import_module('mmdet.datasets.transforms')


@contextmanager
def _not_installed(name: str) -> Iterator[None]:
    """Let imports of a package fail that has not been imported yet."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
