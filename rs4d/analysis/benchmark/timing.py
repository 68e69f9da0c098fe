"""Timing that holds on noisy machines: candidates take turns, and ratios are taken turn by turn."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar

import torch

Name = TypeVar('Name', bound=Hashable)


class Spread(NamedTuple):
    """A median between its quartiles, in the unit of the samples."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f'{self.median:.3g} ({self.low:.3g}-{self.high:.3g})'


def spread(samples: Sequence[float]) -> Spread:
    """Summarise one sample or more."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0])
    return Spread(*statistics.quantiles(samples, n=4, method='inclusive'))


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """Summarise slow / fast of the same rounds."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def interleave(
    candidates: Mapping[Name, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    around: Callable[[Name], AbstractContextManager] = lambda _: nullcontext(),
    measure: Callable[[Callable[[], object]], float] | None = None,
) -> dict[Name, list[float]]:
    """Time several functions in turn, so that whatever slows the machine slows all of them.

    Args:
        candidates: The functions by name.
        rounds: Turns of each.
        warmup: Turns of each before, which are not measured.
        around: Gives what a candidate's turn happens in; to enter and to leave it is not measured.
        measure: Calls a function and returns its seconds; :func:`by_the_clock` if None.

    Returns:
        Seconds of every round by name.
    """
    for name, function in candidates.items():
        with around(name):
            for _ in range(warmup):
                function()
    seconds: dict[Name, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, function in candidates.items():
            with around(name):
                seconds[name].append((measure or by_the_clock)(function))
    return seconds


def by_the_clock(function: Callable[[], object]) -> float:
    """Call a function, and return its seconds; what it gives a GPU to do is waited for."""
    synchronise()
    start = time.perf_counter()
    function()
    synchronise()
    return time.perf_counter() - start


def by_the_gpu(function: Callable[[], object]) -> float:
    """Call a function, and return the seconds between the GPU's own events before and behind it."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    function()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3


def synchronise() -> None:
    """Wait for what a GPU has been given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
