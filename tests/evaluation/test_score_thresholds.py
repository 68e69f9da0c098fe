"""Counts at each threshold, and the threshold with the best F1, against counting them one by one."""

import copy

import numpy as np
import pytest
from scored_sets import scored

from rs4d.datasets.coco_file import CocoIndex
from rs4d.evaluation import ClassMatches, OperatingPoint, match, threshold_curve


def made(scores: list[float], right: list[int], truths: int) -> ClassMatches:
    matched = np.array([right], bool)
    return ClassMatches(
        np.array(scores),
        np.zeros(len(scores), int),
        matched,
        np.zeros_like(matched),
        np.array([truths]),
    )


def test_counts_and_best() -> None:
    curve = threshold_curve(made([0.9, 0.83, 0.8, 0.3], [1, 0, 1, 0], 3))
    assert curve.at(0.95) == OperatingPoint(0.95, 0, 0, 3)
    assert curve.at(0.83) == OperatingPoint(0.83, 1, 1, 2)
    best = curve.best()
    # 2 of 3 found with one false alarm; any threshold above 0.3 and up to 0.8 is as good.
    assert best == OperatingPoint(0.8, 2, 1, 1)
    assert (best.precision, best.recall, best.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_the_shortest_decimal_between_two_scores() -> None:
    curve = threshold_curve(made([0.4567, 0.4561], [1, 0], 1))
    assert curve.best().threshold == 0.4567
    curve = threshold_curve(made([0.4567, 0.44], [1, 0], 1))
    assert curve.best().threshold == 0.45


def test_equal_scores_are_kept_together() -> None:
    curve = threshold_curve(made([0.5, 0.5, 0.5], [1, 0, 0], 1))
    assert curve.best() == OperatingPoint(0.5, 1, 2, 0)
    assert curve.at(0.51).right == 0


def test_where_nothing_is_found() -> None:
    for one in (made([], [], 2), made([0.7], [0], 2)):
        best = threshold_curve(one).best()
        assert (best.threshold, best.right, best.wrong, best.f1) == (1.0, 0, 0, 0.0)


def test_against_counting() -> None:
    content, predictions = scored(1)
    index = CocoIndex(copy.deepcopy(content))
    curve = threshold_curve(*match(index, predictions, 'bbox').by_class['all'])
    truths = sum(not entry['iscrowd'] for entry in content['annotations'])
    for threshold in (0.0, 0.2, 0.5, 0.9):
        kept = [found for found in predictions if found['score'] >= threshold]
        right = wrong = 0
        for image in match(index, kept, 'bbox').by_image:
            counts = ~image.ignored
            right += int((counts & (image.found >= 0)).sum())
            wrong += int((counts & (image.found < 0)).sum())
        assert curve.at(threshold) == OperatingPoint(threshold, right, wrong, truths - right)
    assert curve.best().f1 == pytest.approx(curve.f1.max())
