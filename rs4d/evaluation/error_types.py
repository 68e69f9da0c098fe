"""What kinds of errors a detector makes, and what each costs in AP: the split of TIDE.

Daniel Bolya, Sean Foley, James Hays, Judy Hoffman: TIDE: A General Toolbox for Identifying Object
Detection Errors, ECCV 2020. Each wrong detection is put down to one kind, and each kind is mended
alone; its cost is the AP at an overlap of 0.5 that is gained so. Costs do not add up to what is
missing of 1, as errors hide each other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .average_precision import average_precision
from .matching import ClassMatches, ImageMatches, Matches

# Overlaps from which a detection is right, and up to which it is of the background.
RIGHT, BACKGROUND = 0.5, 0.1
ERRORS = {
    'classification': 'at the place of an instance, of another class',
    'localisation': 'of the right class, but overlaps with the instance too little (0.1 to 0.5)',
    'both': 'of the wrong class and overlaps too little',
    'duplicate': 'of an instance that another detection has found',
    'background': 'where nothing is (overlap up to 0.1)',
    'missed': 'an instance that no detection was near enough to find',
}


@dataclass(frozen=True)
class ErrorCost:
    """An error's share.

    Attributes:
        count: How many detections, or for ``'missed'`` instances, have it, whatever their scores.
        cost: AP at an overlap of 0.5 that is gained if it is mended, 0 to 1.
    """

    count: int
    cost: float


class _Error(NamedTuple):
    """A wrong detection: its image's number, its place there, and which instance it should be of."""

    image: int
    place: int
    truth: int


def split_errors(matches: Matches) -> dict[str, ErrorCost]:
    """Split the errors of all classes together, by the names in `ERRORS`."""
    errors: dict[str, list[_Error]] = {name: [] for name in ERRORS}
    for number, image in enumerate(matches.by_image):
        for name, place, truth in _errors_of(image):
            errors[name].append(_Error(number, place, truth))
    best = _best_of_each_instance(matches, errors)
    plain = _Detections(matches).mean_precision()
    result = {}
    for name, found in errors.items():
        mended = _Detections(matches)
        for error in found:
            if name == 'missed':
                mended.forget(error)
            else:
                rights = best.get((error.image, error.truth)) == error.place
                mended.change(error, rights)
        result[name] = ErrorCost(len(found), mended.mean_precision() - plain)
    return result


def _errors_of(image: ImageMatches) -> Iterator[tuple[str, int, int]]:
    """Yield each error's name, the detection's place, and the instance that it is about or -1."""
    same = image.labels[:, None] == image.truth_labels
    counted = np.where(image.counts, image.overlaps, -1.0)
    own, other = np.where(same, counted, -1.0), np.where(same, -1.0, counted)
    found = image.finders >= 0
    covered = found.copy()
    wrong = np.flatnonzero((image.found < 0) & ~image.ignored)
    names, truths = _names(own[wrong], other[wrong], found)
    covered[truths[truths >= 0]] = True
    yield from zip(names.tolist(), wrong.tolist(), truths.tolist(), strict=True)
    for truth in np.flatnonzero(image.counts & ~covered).tolist():
        yield 'missed', -1, truth


def _names(own: np.ndarray, other: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Name the errors of wrong detections.

    Args:
        own: (D, G), overlaps with instances of the detection's class; -1 elsewhere.
        other: Likewise of the other classes.
        found: (G,) bool, whether an instance has been found.

    Returns:
        (D,), names; and (D,) int, the instance that each should be of, -1 for none.
    """
    if own.size == 0:
        return np.full(len(own), 'background'), np.full(len(own), -1)
    best = own.max(axis=1), other.max(axis=1)
    taken = np.where(found, own, -1.0).max(axis=1)
    conditions = [
        (best[0] >= BACKGROUND) & (best[0] <= RIGHT),
        best[1] >= RIGHT,
        taken >= RIGHT,
        np.maximum(*best) <= BACKGROUND,
    ]
    names = np.select(
        conditions, ['localisation', 'classification', 'duplicate', 'background'], 'both'
    )
    return names, np.select(conditions[:2], [own.argmax(axis=1), other.argmax(axis=1)], -1)


def _best_of_each_instance(
    matches: Matches, errors: Mapping[str, list[_Error]]
) -> dict[tuple[int, int], int]:
    """Return the detection that becomes right where several could be mended to find an instance.

    It is the one with the highest score; none where the instance has been found.
    """
    best: dict[tuple[int, int], int] = {}
    for name in ('classification', 'localisation'):
        for image, place, truth in errors[name]:
            if matches.by_image[image].finders[truth] < 0:
                # Places rise with falling scores.
                best[image, truth] = min(place, best.get((image, truth), place))
    return best


class _Detections:
    """All detections in one table, some of which are mended or taken away."""

    def __init__(self, matches: Matches) -> None:
        images = matches.by_image
        self._images = images
        self._starts = np.cumsum([0, *(len(image.scores) for image in images)])
        self._scores = np.concatenate([image.scores for image in images])
        self._labels = np.concatenate([image.labels for image in images])
        self._right = np.concatenate([image.found for image in images]) >= 0
        self._kept = ~np.concatenate([image.ignored for image in images])
        self._truths = np.array([one.truths.sum() for one in matches.by_class['all']])
        self._scored = self._truths > 0

    def change(self, error: _Error, rights: bool) -> None:
        """Let a detection be right, as one of its instance's class, or else take it away."""
        place = self._starts[error.image] + error.place
        if rights:
            self._labels[place] = self._images[error.image].truth_labels[error.truth]
            self._right[place] = True
        else:
            self._kept[place] = False

    def forget(self, error: _Error) -> None:
        """Let an instance not count."""
        self._truths[self._images[error.image].truth_labels[error.truth]] -= 1

    def mean_precision(self) -> float:
        """Return the AP at an overlap of 0.5 of all classes that have instances."""
        values = [self._precision(label) for label in np.flatnonzero(self._scored)]
        return float(np.mean(values)) if values else float('nan')

    def _precision(self, label: int) -> float:
        chosen = np.flatnonzero(self._kept & (self._labels == label))
        chosen = chosen[np.argsort(-self._scores[chosen], kind='mergesort')]
        right = self._right[chosen][None]
        one = ClassMatches(
            scores=self._scores[chosen],
            images=np.zeros(len(chosen), int),  # all of one image, for what it counts here
            matched=right,
            ignored=np.zeros_like(right),
            truths=self._truths[[label]],
        )
        return float(np.nan_to_num(average_precision(one)[0, 0]))
