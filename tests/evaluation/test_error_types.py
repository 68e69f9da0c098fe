"""The split of errors: each kind on a picture of its own, and as tidecv counts them."""

import copy
from typing import Any

import matplotlib
import numpy as np
import pytest
from scored_sets import CLASSES, SIDE, instance, scored

from rs4d.datasets.coco_file import CocoIndex
from rs4d.evaluation import ERRORS, average_precision, match, split_errors

FULL = dict.fromkeys(ERRORS, 0)


def split(truths: list[Any], found: list[Any]) -> dict[str, tuple[int, float]]:
    """Split the errors of one image with boxes of 40 x 40."""
    annotations = [
        instance(1, category, [*corner, 40.0, 40.0], id=n, area=1600, iscrowd=0)
        for n, (category, corner) in enumerate(truths, 1)
    ]
    predictions = [
        instance(1, category, [*corner, 40.0, 40.0], score=score)
        for category, corner, score in found
    ]
    content = dict(
        images=[dict(id=1, file_name='1.png', width=SIDE, height=SIDE)],
        annotations=annotations,
        categories=[dict(id=key, name=name) for key, name in CLASSES.items()],
    )
    errors = split_errors(match(CocoIndex(content), predictions, 'bbox'))
    return {name: (error.count, error.cost) for name, error in errors.items()}


SHIP, PIER = 3, 5
HERE, NEAR, THERE = (10.0, 10.0), (32.0, 10.0), (100.0, 100.0)  # NEAR overlaps HERE by 18 of 62


@pytest.mark.parametrize(
    ('found', 'name'),
    [
        ([(PIER, HERE, 0.9)], 'classification'),
        ([(SHIP, NEAR, 0.9)], 'localisation'),
        ([(PIER, NEAR, 0.9)], 'both'),
        ([(SHIP, THERE, 0.9)], 'background'),
        ([], 'missed'),
    ],
)
def test_each_kind_alone(found: list[Any], name: str) -> None:
    errors = split([(SHIP, HERE)], found)
    # What could not be mended to find the instance leaves it missed.
    missed = int(name in ('both', 'background', 'missed'))
    counts = {key: count for key, (count, _) in errors.items()}
    assert counts == FULL | {name: 1} | dict(missed=missed)
    costs = {key: cost for key, (_, cost) in errors.items()}
    # A mended class or place finds the only instance; taking anything else away gains nothing.
    assert costs[name] == (1.0 if name in ('classification', 'localisation') else 0.0)


def test_duplicates_and_their_cost() -> None:
    truths = [(SHIP, HERE), (SHIP, THERE)]
    errors = split(truths, [(SHIP, HERE, 0.9), (SHIP, HERE, 0.8), (SHIP, THERE, 0.7)])
    assert errors['duplicate'][0] == 1
    # Precision was 1 up to a recall of 0.5, 51 of 101 levels, and 2/3 above.
    assert errors['duplicate'][1] == pytest.approx(50 / 101 / 3)
    assert sum(count for count, _ in errors.values()) == 1


def test_of_several_that_could_be_mended_the_best_is() -> None:
    errors = split([(SHIP, HERE)], [(SHIP, NEAR, 0.5), (PIER, HERE, 0.9)])
    # The pier, as it scores more, would become the ship; so the other one is only taken away.
    assert errors['classification'] == (1, 1.0)
    assert errors['localisation'] == (1, 0.0)


def test_an_instance_that_was_found_is_not_found_again() -> None:
    errors = split([(SHIP, HERE)], [(SHIP, HERE, 0.5), (SHIP, NEAR, 0.9)])
    assert errors['localisation'] == (1, 0.5)  # the false alarm before it goes


@pytest.mark.parametrize('seed', range(8))
def test_as_tidecv_splits_them(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tidecv = pytest.importorskip('tidecv', reason='needs tidecv, of the extra test')
    # Its levels of recall differ from COCO's in the last bit, on whose two sides a recall may be.
    monkeypatch.setitem(average_precision.__globals__, 'RECALLS', np.arange(101) / 100)
    content, predictions = scored(seed, images=40, crowds=False)
    truth, found = tidecv.Data('truth'), tidecv.Data('found')
    for data in (truth, found):
        for key, name in CLASSES.items():
            data.add_class(key, name)
    for image in content['images']:  # it looks at no others
        truth.add_image(image['id'], image['file_name'])
    for entry in content['annotations']:
        truth.add_ground_truth(entry['image_id'], entry['category_id'], entry['bbox'])
    for entry in predictions:
        found.add_detection(*(entry[k] for k in ('image_id', 'category_id', 'score', 'bbox')))
    with matplotlib.rc_context():  # of which it sets some
        tide = tidecv.TIDE()
    run = tide.evaluate(truth, found, pos_threshold=0.5, mode=tidecv.TIDE.BOX)
    names = dict(
        classification='Cls',
        localisation='Loc',
        both='Both',
        duplicate='Dupe',
        background='Bkg',
        missed='Miss',
    )
    costs = tide.get_main_errors()['found']
    counts = {kind.short_name: len(errors) for kind, errors in run.error_dict.items()}
    ours = split_errors(match(CocoIndex(copy.deepcopy(content)), predictions, 'bbox'))
    assert {key: ours[key].count for key in names} == {k: counts[v] for k, v in names.items()}
    assert np.count_nonzero([error.count for error in ours.values()]) >= 5
    for name, short in names.items():
        assert 100 * ours[name].cost == pytest.approx(costs[short], abs=1e-6)
