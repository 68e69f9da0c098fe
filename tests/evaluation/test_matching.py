"""Matches are those of pycocotools, and so are the figures made of them."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scored_sets import scored

from rs4d.datasets.coco_file import CocoIndex
from rs4d.evaluation import (
    AREAS,
    OVERLAPS,
    RECALLS,
    Kind,
    average_precision,
    bootstrap,
    interval,
    match,
    mean_over_classes,
    precision_curve,
    resample,
)


def theirs(content: dict[str, Any], predictions: list[dict[str, Any]], kind: Kind) -> COCOeval:
    """COCO's own evaluation, with the truth in its own index."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dict(info={}) | copy.deepcopy(content)
        truth.createIndex()
        drop = 'bbox' if kind == 'segm' else 'segmentation'
        results = [{k: v for k, v in one.items() if k != drop} for one in predictions]
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('seed', [0, 1])
def test_figures_are_those_of_pycocotools(kind: Kind, seed: int) -> None:
    content, predictions = scored(seed)
    evaluation = theirs(content, predictions, kind)
    matches = match(CocoIndex(copy.deepcopy(content)), predictions, kind)
    np.testing.assert_array_equal(OVERLAPS, evaluation.params.iouThrs)
    np.testing.assert_array_equal(RECALLS, evaluation.params.recThrs)
    for place, area in enumerate(AREAS):
        expected = evaluation.eval['precision'][..., place, -1]  # (T, R, K)
        expected = np.where(expected < 0, np.nan, expected).transpose(2, 0, 1)
        curves = np.stack([precision_curve(one) for one in matches.by_class[area]])
        np.testing.assert_allclose(curves, expected, atol=1e-12)
        quick = np.stack([average_precision(one)[0] for one in matches.by_class[area]])
        np.testing.assert_allclose(quick, expected.mean(axis=2), atol=1e-12)
    means = [
        mean_over_classes([average_precision(o)[0] for o in matches.by_class[a]]) for a in AREAS
    ]
    found = [means[0].mean(), means[0][0], means[0][5], *(mean.mean() for mean in means[1:])]
    np.testing.assert_allclose(found, evaluation.stats[:6], atol=1e-9)


def test_a_resample_is_a_set_with_images_several_times() -> None:
    """Images are copied under new ids, as many times as they were drawn."""
    content, predictions = scored(2)
    matches = match(CocoIndex(copy.deepcopy(content)), predictions, 'bbox')
    weights = resample(len(content['images']), 5, seed=3)
    assert weights.shape == (5, 24)
    assert (weights.sum(axis=1) == 24).all()
    drawn = bootstrap(matches.by_class['all'], weights)
    for times, values in zip(weights, drawn, strict=True):
        copied: dict[str, Any] = dict(categories=content['categories'], images=[], annotations=[])
        results = []
        for image, count in zip(content['images'], times, strict=True):
            for number in range(count):
                key = image['id'] + 100 * number
                copied['images'].append(image | dict(id=key))
                for part, into in (
                    (content['annotations'], copied['annotations']),
                    (predictions, results),
                ):
                    into += [e | dict(image_id=key) for e in part if e['image_id'] == image['id']]
        for number, entry in enumerate(copied['annotations'], 1):
            entry['id'] = number
        precision = theirs(copied, results, 'bbox').eval['precision'][..., 0, -1]
        by_class = np.where(precision < 0, np.nan, precision).mean(axis=1).T
        np.testing.assert_allclose(values, mean_over_classes(by_class), atol=1e-9)


def test_intervals_of_pairs_are_narrower() -> None:
    """Where all images are alike to both, a difference is surer than its two figures are."""
    content, predictions = scored(4, images=60)
    worse = [found for number, found in enumerate(predictions) if number % 7]
    weights = resample(60, 300)
    found = [
        bootstrap(match(CocoIndex(copy.deepcopy(content)), p, 'bbox').by_class['all'], weights)
        for p in (predictions, worse)
    ]
    first, other = (values.mean(axis=1) for values in found)
    difference = interval(0.0, other - first)
    alone = [interval(0.0, values) for values in (first, other)]
    assert difference.high - difference.low < min(one.high - one.low for one in alone)
    same = interval(0.0, first - first)
    assert (same.low, same.high) == (0, 0)


def test_matches_of_an_image_agree_with_those_of_classes() -> None:
    content, predictions = scored(5)
    matches = match(CocoIndex(copy.deepcopy(content)), predictions, 'segm')
    assert matches.classes == ('ship', 'pier', 'tank')
    right = sum(int((image.finders >= 0).sum()) for image in matches.by_image)
    by_class = matches.by_class['all']
    assert right == sum(int((one.matched & ~one.ignored)[0].sum()) for one in by_class) > 0
    for image in matches.by_image:
        assert (np.diff(image.scores) <= 0).all()
        for place, number in enumerate(image.detections):
            assert predictions[number]['score'] == image.scores[place]
        places = np.flatnonzero(image.found >= 0)
        assert (image.overlaps[places, image.found[places]] >= 0.5).all()


def test_scores_of_masks_may_be_their_own() -> None:
    content, predictions = scored(6)
    own = [found | dict(mask_score=1 - found['score']) for found in predictions]
    turned = [found | dict(score=1 - found['score']) for found in predictions]
    index = CocoIndex(copy.deepcopy(content))
    for kind, same in (('segm', turned), ('bbox', predictions)):
        found, expected = match(index, own, kind), match(index, same, kind)
        np.testing.assert_array_equal(
            found.by_class['all'][0].scores, expected.by_class['all'][0].scores
        )
    assert 'area' not in own[0]  # they stay as they are


def test_without_any_prediction() -> None:
    content, _ = scored(0)
    matches = match(CocoIndex(copy.deepcopy(content)), [], 'segm')
    assert all((average_precision(one) == 0).all() for one in matches.by_class['all'])
    drawn = bootstrap(matches.by_class['all'], resample(24, 3))
    assert np.nanmax(drawn) == 0
