"""What is right, wrong and missed at each score threshold, and the threshold with the best F1."""

from dataclasses import dataclass

import numpy as np

from .matching import ClassMatches


@dataclass(frozen=True)
class ThresholdCurve:
    """Counts of the detections whose score is at least a threshold, at an overlap of 0.5.

    Attributes:
        scores: (S,), the distinct scores, falling.
        right: (S,) int, instances found with this score as the threshold.
        wrong: (S,) int, false alarms likewise.
        truths: Instances.
    """

    scores: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    truths: int

    @property
    def f1(self) -> np.ndarray:
        """(S,), the harmonic mean of precision and recall."""
        return 2 * self.right / np.maximum(self.right + self.wrong + self.truths, 1)

    def at(self, threshold: float) -> 'OperatingPoint':
        """Return what is had at any threshold."""
        kept = int(np.searchsorted(-self.scores, -threshold, side='right'))
        right, wrong = (int(self.right[kept - 1]), int(self.wrong[kept - 1])) if kept else (0, 0)
        return OperatingPoint(threshold, right, wrong, self.truths - right)

    def best(self) -> 'OperatingPoint':
        """Return that of the best F1, with the shortest decimal that is such a threshold.

        Of several the highest is taken. Where nothing is found it is 1.
        """
        if not len(self.scores) or not self.right.any():
            return self.at(1.0)
        place = int(np.argmax(self.f1))
        score = float(self.scores[place])
        below = float(self.scores[place + 1]) if place + 1 < len(self.scores) else -np.inf
        for digits in range(1, 17):
            shorter = float(np.floor(score * 10**digits) / 10**digits)
            if below < shorter <= score:
                return self.at(shorter)
        return self.at(score)


@dataclass(frozen=True)
class OperatingPoint:
    """What is had of a detector at one score threshold and an overlap of 0.5.

    Attributes:
        threshold: Detections with this score and more are kept.
        right: Instances that were found.
        wrong: False alarms: detections of nothing, or of what has been found.
        missed: Instances that were not.
    """

    threshold: float
    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """The part of the detections that is right; 1 where there are none."""
        kept = self.right + self.wrong
        return self.right / kept if kept else 1.0

    @property
    def recall(self) -> float:
        """The part of the instances that was found; 1 where there are none."""
        truths = self.right + self.missed
        return self.right / truths if truths else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two; 0 where there is nothing at all."""
        return 2 * self.right / max(2 * self.right + self.wrong + self.missed, 1)


def threshold_curve(*classes: ClassMatches) -> ThresholdCurve:
    """Count over the scores of one class, or of several together."""
    scores = np.concatenate([np.zeros(0), *(one.scores for one in classes)])
    matched, ignored = (
        np.concatenate([np.zeros(0, bool), *(getattr(one, name)[0] for one in classes)])
        for name in ('matched', 'ignored')
    )
    order = np.argsort(-scores, kind='mergesort')
    scores, right = scores[order], np.cumsum((matched & ~ignored)[order])
    wrong = np.cumsum((~matched & ~ignored)[order])
    # Equal scores are kept or dropped together.
    last = np.flatnonzero(np.diff(scores, append=-np.inf) < 0)
    truths = int(sum(one.truths.sum() for one in classes))
    return ThresholdCurve(scores[last], right[last], wrong[last], truths)
