"""COCO's average precision from matches: its curve, its means, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .matching import ClassMatches

# COCO's levels of recall, over which precision is averaged.
RECALLS = np.linspace(0, 1, 101)
# So many numbers of resamples are in memory at a time.
_TOGETHER = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A figure, and between which values it lies in 95 of 100 resamples of the images."""

    value: float
    low: float
    high: float


def precision_curve(matches: ClassMatches) -> np.ndarray:
    """Return the precision at each of `RECALLS`: the best that is had at this recall or more.

    Returns:
        (T, 101), for each overlap; NaN without instances.
    """
    truths = matches.truths.sum()
    shape = (len(matches.matched), len(RECALLS))
    curve: np.ndarray = np.full(shape, np.nan if truths == 0 else 0.0)
    if truths == 0:
        return curve
    for line, matched, ignored in zip(curve, matches.matched, matches.ignored, strict=True):
        right = np.cumsum(matched & ~ignored)
        seen = np.cumsum(~ignored)
        precision = right / np.maximum(seen, 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(right / truths, RECALLS)
        reached = places < len(best)
        line[reached] = best[places[reached]]
    return curve


def average_precision(matches: ClassMatches, weights: np.ndarray | None = None) -> np.ndarray:
    """Return a class's average precision, as the mean of `precision_curve` is, for resampled images.

    Args:
        matches: The class's detections.
        weights: (B, I) int, how often each image is there in each resample; None is each once.

    Returns:
        (B, T), for each resample and overlap; NaN where there are no instances.
    """
    if weights is None:
        weights = np.ones((1, len(matches.truths)), int)
    truths = weights @ matches.truths
    result: np.ndarray = np.full((len(weights), len(matches.matched)), np.nan)
    for number, (matched, ignored) in enumerate(zip(matches.matched, matches.ignored, strict=True)):
        right = np.flatnonzero(matched & ~ignored)
        seen = _CountsAt(matches.images, ~ignored, right, weights.shape[1])
        size = max(seen.cost, len(right), 1)
        for rows in np.array_split(np.arange(len(weights)), -(-len(weights) * size // _TOGETHER)):
            # The best precision is had at a right detection, so that others need not be looked at.
            found = np.cumsum(weights[np.ix_(rows, matches.images[right])], axis=1)
            precision = found / np.maximum(seen.of(weights[rows]), 1)
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recall = found / np.maximum(truths[rows], 1)[:, None]
            levels = np.searchsorted(RECALLS, recall, side='right')
            steps = np.diff(levels, axis=1, prepend=0)
            result[rows, number] = (best * steps).sum(axis=1) / len(RECALLS)
    result[truths == 0] = np.nan
    return result


class _CountsAt:
    """How many detections there are up to some of them, for resampled images.

    Where there are few images and few places, it is a product of the resamples with a table of each
    image's counts; else detections are summed up one by one.

    Args:
        images: (N,) the image of each detection.
        counts: (N,) bool, whether it counts.
        places: (P,) rising, up to which ones, these included.
        number: How many images there are.

    Attributes:
        cost: Numbers in memory for each resample.
    """

    def __init__(
        self, images: np.ndarray, counts: np.ndarray, places: np.ndarray, number: int
    ) -> None:
        self._places = places
        self._table: np.ndarray | None = None
        self._images, self._counts = images, counts
        self.cost = len(images)
        # A multiply-add of a product costs a fiftieth of a number summed up from memory.
        if number * len(places) <= 50 * len(images):
            stretch = np.searchsorted(places, np.flatnonzero(counts))
            cell = images[counts] * (len(places) + 1) + stretch
            table = np.bincount(cell, minlength=number * (len(places) + 1))
            table = table.reshape(number, -1)[:, :-1]
            self._table = np.cumsum(table, axis=1, dtype=float)
            self.cost = len(places)

    def of(self, weights: np.ndarray) -> np.ndarray:
        """Return (B, P), for how often each image is there, (B, I)."""
        if self._table is not None:
            return weights @ self._table
        return np.cumsum(weights[:, self._images] * self._counts, axis=1)[:, self._places]


def mean_over_classes(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Average over the first axis without classes that have no instances; NaN if none has any."""
    values = np.asarray(values)
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    return np.where(count, np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def resample(images: int, count: int = 1000, seed: int = 0) -> np.ndarray:
    """Draw as many images as there are, with replacement: (count, images) int, how often each."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=count)


def bootstrap(classes: Sequence[ClassMatches], weights: np.ndarray) -> np.ndarray:
    """Return the AP of each resample at each overlap, all classes averaged: (B, T)."""
    return mean_over_classes([average_precision(one, weights) for one in classes])


def interval(value: float, resamples: np.ndarray) -> Interval:
    """Put a figure and those of its resamples together; those that have none are left out."""
    there = resamples[~np.isnan(resamples)]
    low, high = np.percentile(there, (2.5, 97.5)).tolist() if len(there) else (np.nan, np.nan)
    return Interval(value, low, high)
