"""Freed memory goes back to the system."""

import ctypes

import pytest

from rs4d.analysis.benchmark.memory import status_mib
from rs4d.engine.freed_memory import give_back_freed_memory


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='glibc alone keeps it')
def test_freed_memory_is_given_back() -> None:
    # Pieces that come from the heap, and the last of them stays, so that all below it stay as well.
    pieces = [bytes(60_000) for _ in range(3000)]
    last = pieces[-1]
    held = status_mib('VmRSS')
    pieces.clear()
    give_back_freed_memory()
    assert status_mib('VmRSS') < held - 100
    assert len(last) == 60_000
