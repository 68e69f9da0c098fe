"""Parts of a call add up to the whole, each counted once."""

import time
from types import SimpleNamespace

import pytest

from rs4d.analysis.benchmark.stopwatch import Stopwatch


def test_inner_parts_are_not_counted_for_outer_ones() -> None:
    def outer() -> None:
        time.sleep(0.02)
        work.inner()

    work = SimpleNamespace(outer=outer, inner=lambda: time.sleep(0.05))
    watch = Stopwatch()
    watch.watch(work, 'outer', 'heads')
    watch.watch(work, 'inner', 'post-processing')

    def whole() -> None:
        time.sleep(0.01)
        work.outer()

    for _ in range(2):  # what was measured before, and time between, is forgotten
        start = time.perf_counter()
        seconds = watch.measure(whole)
        total = time.perf_counter() - start
        assert sum(seconds.values()) == pytest.approx(total, abs=5e-3)
        assert seconds['rest'] >= 0.01
        assert seconds['heads'] >= 0.02
        assert seconds['post-processing'] >= 0.05
        time.sleep(0.1)


def test_a_part_ends_with_an_error() -> None:
    watch = Stopwatch()
    work = SimpleNamespace(fail=lambda: 1 / 0)
    watch.watch(work, 'fail', 'heads')
    with pytest.raises(ZeroDivisionError):
        watch.measure(work.fail)
    assert watch.measure(lambda: None).keys() == {'rest'}
