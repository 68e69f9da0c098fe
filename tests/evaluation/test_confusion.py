"""Confusions and the counts of images add up to the same."""

import copy

import numpy as np
import pytest
from scored_sets import CLASSES, SIDE, instance, scored

from rs4d.datasets.coco_file import CocoIndex
from rs4d.evaluation import confusion_table, count_by_image, match, threshold_curve


def test_a_case_counted_by_hand() -> None:
    truths = [(3, (10.0, 10.0)), (3, (60.0, 60.0)), (5, (110.0, 110.0))]
    found = [
        (3, (10.0, 10.0), 0.9),
        (5, (10.0, 10.0), 0.8),  # that instance is taken
        (11, (62.0, 60.0), 0.7),  # a ship taken for a tank
        (5, (110.0, 110.0), 0.1),  # below the threshold
    ]
    content = dict(
        images=[dict(id=1, file_name='1.png', width=SIDE, height=SIDE)],
        annotations=[
            instance(1, category, [*corner, 40.0, 40.0], id=n, area=1600, iscrowd=0)
            for n, (category, corner) in enumerate(truths, 1)
        ],
        categories=[dict(id=key, name=name) for key, name in CLASSES.items()],
    )
    predictions = [instance(1, c, [*corner, 40.0, 40.0], score=s) for c, corner, s in found]
    matches = match(CocoIndex(content), predictions, 'segm')
    expected = [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_array_equal(confusion_table(matches, 0.5), expected)
    (counts,) = count_by_image(matches, 0.5)
    assert (counts.image_id, counts.right, counts.missed, counts.wrong) == (1, 1, 2, 2)


@pytest.mark.parametrize('seed', range(3))
def test_sums(seed: int) -> None:
    content, predictions = scored(seed)
    matches = match(CocoIndex(copy.deepcopy(content)), predictions, 'bbox')
    best = threshold_curve(*matches.by_class['all']).best()
    table = confusion_table(matches, best.threshold)
    counts = count_by_image(matches, best.threshold)
    assert np.trace(table[:-1, :-1]) == sum(one.right for one in counts) == best.right
    assert table[:-1].sum() == best.right + best.missed
    assert table[:, :-1].sum() == best.right + best.wrong
    assert sum(one.missed for one in counts) == best.missed
    assert sum(one.wrong for one in counts) == best.wrong
