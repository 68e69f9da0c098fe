"""faster-coco-eval gives pycocotools' figures, where it is installed."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.metrics import coco_metric
from pycocotools.cocoeval import COCOeval
from scored_sets import CLASSES, instance, scored

from rs4d.compat.coco_evaluation import FastEvaluation, fast_coco_evaluation
from rs4d.datasets.coco_file import CocoIndex

fast = pytest.importorskip('faster_coco_eval', reason='needs the extra fast')


def evaluate(
    content: dict[str, Any], found: list[Any], kind: str, how: type[COCOeval], **params: Any
) -> COCOeval:
    index = CocoIndex(copy.deepcopy(content))
    drop = 'bbox' if kind == 'segm' else 'segmentation'
    results = [{k: v for k, v in one.items() if k != drop} for one in found]
    evaluation = how(index, index.loadRes(results), kind)
    for name, value in params.items():
        setattr(evaluation.params, name, value)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize(
    'params',
    [
        dict(maxDets=[100, 300, 1000]),  # as MMDetection asks
        dict(maxDets=[1, 2, 3]),
        dict(catIds=[5], imgIds=[9, 2, 3, 4, 5]),
        dict(iouThrs=np.array([0.3, 0.5, 0.75])),
        dict(useCats=0, maxDets=[100, 300, 1000]),
    ],
)
def test_the_same_figures(kind: str, params: dict[str, Any]) -> None:
    content, found = scored(3, images=30)
    found = [one | dict(score=round(one['score'], 2)) for one in found]  # some are equal
    theirs = evaluate(content, found, kind, COCOeval, **params)
    ours = evaluate(content, found, kind, FastEvaluation, **params)
    for name in ('precision', 'recall'):
        np.testing.assert_allclose(ours.eval[name], theirs.eval[name], atol=1e-6)
    np.testing.assert_allclose(ours.stats, theirs.stats, atol=1e-6)
    assert ours.stats[1] > 0


def test_nothing_predicted_and_ids_that_are_texts() -> None:
    content, found = scored(3)
    assert evaluate(content, [], 'segm', FastEvaluation).stats[0] == 0
    for entries, key in ((content['images'], 'id'), (content['annotations'], 'image_id')):
        for entry in entries:
            entry[key] = f'image {entry[key]}'
    found = [one | dict(image_id=f'image {one["image_id"]}') for one in found]
    theirs, ours = (evaluate(content, found, 'bbox', one) for one in (COCOeval, FastEvaluation))
    np.testing.assert_array_equal(ours.stats, theirs.stats)


def test_the_truth_stays_as_it_was() -> None:
    content, found = scored(3)
    index = CocoIndex(copy.deepcopy(content))
    before = copy.deepcopy(index.dataset)
    evaluation = FastEvaluation(index, index.loadRes(found), 'segm')
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    assert index.dataset == before


def test_the_metric_evaluates_by_it() -> None:
    with fast_coco_evaluation():
        assert coco_metric.COCOeval is FastEvaluation
    assert coco_metric.COCOeval is not FastEvaluation
    # When this fails the metric takes another name than the one that is put in its place.
    assert 'COCOeval' in CocoMetric.compute_metrics.__code__.co_names


def test_mmdetections_own_metric_of_it_averages_over_more_detections() -> None:
    """When this fails that metric would do."""
    content, found = scored(3, images=4)
    # On each image 150 false alarms come before what is right.
    alarms = [
        instance(image, key, [0.0, 0.0, 3.0, 3.0], score=1.0)
        for image in range(1, 5)
        for key in CLASSES
        for _ in range(150)
    ]
    many = alarms + found
    settings = dict(maxDets=[100, 300, 1000])
    ours = evaluate(content, many, 'bbox', FastEvaluation, **settings)
    truth = fast.COCO(CocoIndex(copy.deepcopy(content)).dataset)
    theirs = fast.COCOeval_faster(truth, truth.loadRes(copy.deepcopy(many)), 'bbox')
    theirs.params.maxDets = settings['maxDets']
    theirs.run()
    assert theirs.eval['precision'].shape == ours.eval['precision'].shape
    np.testing.assert_allclose(theirs.eval['precision'], ours.eval['precision'], atol=1e-6)
    assert theirs.stats[0] != pytest.approx(ours.stats[0], abs=1e-6)
