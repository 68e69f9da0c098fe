"""All figures of a report, computed from the matches of each run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rs4d.evaluation import (
    AREAS,
    OVERLAPS,
    ErrorCost,
    ImageCounts,
    Interval,
    Kind,
    Matches,
    OperatingPoint,
    ThresholdCurve,
    bootstrap,
    confusion_table,
    count_by_image,
    interval,
    match,
    mean_over_classes,
    precision_curve,
    resample,
    split_errors,
    threshold_curve,
)

from .runs import Run, kinds_of

# The figures that COCO's tables have, each a choice of overlaps and of an area.
SCORES: dict[str, tuple[slice, str]] = {
    'AP': (slice(None), 'all'),
    'AP50': (slice(0, 1), 'all'),
    'AP75': (slice(5, 6), 'all'),
    'AP small': (slice(None), 'small'),
    'AP medium': (slice(None), 'medium'),
    'AP large': (slice(None), 'large'),
}


@dataclass(frozen=True)
class KindFigures:
    """What is said of a run's boxes, or of its masks.

    Attributes:
        matches: What was matched with what.
        curves: (K, T, 101), precision at each recall, by class and overlap; NaN without instances.
        by_area: For each area (K, T), the average precision.
        scores: For each of `SCORES` the figure and its interval.
        samples: For each of `SCORES` (B,), the figure on each resample of the images.
        thresholds: Counts over score thresholds, of all classes.
        best: What is had at the threshold of the best F1.
        best_by_class: Likewise, each class with a threshold of its own.
        errors: The split of errors.
    """

    matches: Matches
    curves: np.ndarray
    by_area: dict[str, np.ndarray]
    scores: dict[str, Interval]
    samples: dict[str, np.ndarray]
    thresholds: ThresholdCurve
    best: OperatingPoint
    best_by_class: list[OperatingPoint]
    errors: dict[str, ErrorCost]

    def by_overlap(self) -> np.ndarray:
        """(T,), the average precision at each overlap, all classes averaged."""
        return mean_over_classes(self.by_area['all'])


@dataclass(frozen=True)
class RunFigures:
    """What is said of a run.

    Attributes:
        run: The run.
        kinds: Masks where there are any, and boxes.
        confusion: (K + 1, K + 1), at the best threshold, of the first kind.
        images: What is right, missed and false on each image, at the same.
    """

    run: Run
    kinds: dict[Kind, KindFigures]
    confusion: np.ndarray
    images: list[ImageCounts]

    @property
    def main(self) -> KindFigures:
        """The figures of masks, or of boxes where there are no masks."""
        return next(iter(self.kinds.values()))


@dataclass(frozen=True)
class Change:
    """How a figure differs from the first run's.

    Attributes:
        difference: The figure less the first run's, and its interval on the same resamples.
        certain: Whether the interval leaves out 0.
    """

    difference: Interval

    @property
    def certain(self) -> bool:
        """Whether the interval is on one side of 0."""
        return self.difference.low > 0 or self.difference.high < 0


def compute(runs: Sequence[Run], resamples: int = 1000) -> list[RunFigures]:
    """Compute the figures of all runs, on the same resamples of their images.

    Args:
        runs: Of `read_runs`.
        resamples: How often images are drawn anew for the intervals.
    """
    weights = resample(len(runs[0].test.truth.imgs), resamples)
    result = []
    for run in runs:
        kinds = {kind: _of_kind(run, kind, weights) for kind in kinds_of(runs)}
        first = next(iter(kinds.values()))
        threshold = first.best.threshold
        result.append(
            RunFigures(
                run,
                kinds,
                confusion_table(first.matches, threshold),
                count_by_image(first.matches, threshold),
            )
        )
    return result


def changes(first: KindFigures, other: KindFigures) -> dict[str, Change]:
    """Compare each of `SCORES` with the first run's, on the same resamples."""
    return {
        name: Change(
            interval(
                other.scores[name].value - first.scores[name].value,
                other.samples[name] - first.samples[name],
            )
        )
        for name in SCORES
    }


def _of_kind(run: Run, kind: Kind, weights: np.ndarray) -> KindFigures:
    matches = match(run.test.truth, run.test.predictions, kind)
    curves = np.stack([precision_curve(one) for one in matches.by_class['all']])
    by_area = {
        area: np.stack([precision_curve(one).mean(axis=1) for one in matches.by_class[area]])
        for area in AREAS
    }
    samples, scores = {}, {}
    drawn = {area: bootstrap(matches.by_class[area], weights) for area in AREAS}
    for name, (overlaps, area) in SCORES.items():
        value = float(mean_over_classes(by_area[area])[overlaps].mean())
        samples[name] = drawn[area][:, overlaps].mean(axis=1)
        if weights.shape[1] < 2:
            # All resamples of one image are this image, and say nothing of others.
            samples[name] = np.full_like(samples[name], np.nan)
        scores[name] = interval(value, samples[name])
    thresholds = threshold_curve(*matches.by_class['all'])
    return KindFigures(
        matches=matches,
        curves=curves,
        by_area=by_area,
        scores=scores,
        samples=samples,
        thresholds=thresholds,
        best=thresholds.best(),
        best_by_class=[threshold_curve(one).best() for one in matches.by_class['all']],
        errors=split_errors(matches),
    )


def overlap_names() -> list[str]:
    """Return COCO's overlaps as they are written: 0.50, 0.55, ..."""
    return [f'{overlap:.2f}' for overlap in OVERLAPS]
