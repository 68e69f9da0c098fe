"""Timing that holds on noisy machines: candidates take turns, and ratios are taken turn by turn."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch


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
    candidates: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Time several functions in turn, so that whatever slows the machine slows all of them.

    Returns:
        Seconds of every round by name; ``warmup`` rounds before are not measured.
    """
    for function in candidates.values():
        for _ in range(warmup):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, function in candidates.items():
            _synchronise()
            start = time.perf_counter()
            function()
            _synchronise()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
