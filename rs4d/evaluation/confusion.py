"""At one score threshold: which class is taken for which, and what each image lacks."""

from dataclasses import dataclass

import numpy as np

from .error_types import RIGHT
from .matching import ImageMatches, Matches


@dataclass(frozen=True)
class ImageCounts:
    """What is right, missed and false on an image.

    Attributes:
        image_id: The image.
        right: Instances found, of the right class.
        missed: Instances not found, or found as of another class.
        wrong: False alarms.
    """

    image_id: object
    right: int
    missed: int
    wrong: int


def count_by_image(matches: Matches, threshold: float) -> list[ImageCounts]:
    """Count on each image the detections whose score is at least a threshold."""
    return [
        ImageCounts(key, *_counts(image, threshold))
        for key, image in zip(matches.image_ids, matches.by_image, strict=True)
    ]


def _counts(image: ImageMatches, threshold: float) -> tuple[int, int, int]:
    kept = (image.scores >= threshold) & ~image.ignored
    right = int((kept & (image.found >= 0)).sum())
    return right, int(image.counts.sum()) - right, int(kept.sum()) - right


def confusion_table(matches: Matches, threshold: float) -> np.ndarray:
    """Count which class was predicted for instances of which class.

    Detections and instances of the same class are matched first, as for AP. Of those that are left,
    best first, each detection takes the free instance that it overlaps with most, by 0.5 at least.

    Returns:
        (K + 1, K + 1) int, rows the true class and columns the predicted one; the last row are
        detections of nothing, the last column instances that no detection is of.
    """
    count = len(matches.classes)
    table: np.ndarray = np.zeros((count + 1, count + 1), int)
    for image in matches.by_image:
        kept = (image.scores >= threshold) & ~image.ignored
        right = kept & (image.found >= 0)
        free = image.counts.copy()
        free[image.found[right]] = False
        np.add.at(table, (image.labels[right], image.labels[right]), 1)
        for place in np.flatnonzero(kept & ~right).tolist():
            overlaps = np.where(free, image.overlaps[place], 0.0)
            truth = int(overlaps.argmax()) if len(overlaps) else -1
            if truth >= 0 and overlaps[truth] >= RIGHT:
                free[truth] = False
                table[image.truth_labels[truth], image.labels[place]] += 1
            else:
                table[count, image.labels[place]] += 1
        np.add.at(table[:, count], image.truth_labels[free], 1)
    return table
