"""Perfect predictions score 1, none score 0, and other images than the data set's are refused."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rs4d.datasets import AnnotationError, DatasetNotFoundError
from rs4d.datasets.coco_file import CocoIndex
from rs4d.evaluation import InstanceMetric

NAMES = ('ship', 'pier')


def write(folder: Path, number: int = 3, **changes: Any) -> Path:
    """Two instances an image, numbered from 0."""
    square = [30, 20, 50, 20, 50, 30, 30, 30]
    annotations = [
        dict(
            id=2 * image + k,
            image_id=image,
            category_id=k + 1,
            bbox=[30 - 20 * k, 20, 20, 10],
            area=200,
            segmentation=[[v - 20 * k * (1 - i % 2) for i, v in enumerate(square)]],
        )
        for image in range(number)
        for k in range(2)
    ]
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=60, height=40) for i in range(number)],
        categories=[dict(id=k + 1, name=name) for k, name in enumerate(NAMES)],
        annotations=annotations,
    )
    file = folder / 'truth.json'
    file.write_text(json.dumps(content | changes))
    return file


def perfect(file: Path) -> list[dict[str, Any]]:
    """The truth, as a model would predict it."""
    truth = COCO(str(file))
    labels = {key: label for label, key in enumerate(truth.cats)}
    samples = []
    for key, image in truth.imgs.items():
        entries = truth.imgToAnns[key]
        masks = [truth.annToMask(entry) for entry in entries]
        boxes = np.array([e['bbox'] for e in entries]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        prediction = dict(
            bboxes=torch.tensor(boxes),
            scores=torch.ones(len(entries)),
            labels=torch.tensor([labels[e['category_id']] for e in entries], dtype=torch.long),
            masks=[coco_mask.encode(np.asfortranarray(mask)) for mask in masks],
        )
        size = (image['height'], image['width'])
        samples.append(
            dict(
                img_id=key,
                img_path=f'imgs/{image["file_name"]}',
                ori_shape=size,
                pred_instances=prediction,
            )
        )
    return samples


def score(
    file: Path, samples: list[dict[str, Any]], classes: Any = NAMES, **settings: Any
) -> dict[str, float]:
    metric = InstanceMetric(str(file), metric=['bbox', 'segm'], **settings)
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=classes)
    evaluator.process(samples, None)
    return evaluator.evaluate(len(samples))


def without_predictions(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        sample | dict(pred_instances={k: v[:0] for k, v in sample['pred_instances'].items()})
        for sample in samples
    ]


def test_perfect_predictions_score_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = score(file := write(tmp_path), samples := perfect(file))
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1.0
    capsys.readouterr()
    score(file, samples)
    printed = capsys.readouterr().out
    for line in ('creating index', 'Done', 'DONE', 'loading', 'Accumulating'):
        assert line not in printed


def test_perfect_predictions_of_real_sets_score_one(data_root: Callable[[str], Path]) -> None:
    for name in ('SSDD', 'NWPU'):
        file = data_root(name) / f'annotations/{name}_instances_val.json'
        content = json.loads(file.read_text())
        assert min(entry['id'] for entry in content['annotations']) == 0
        classes = [category['name'] for category in content['categories']]
        scores = score(file, perfect(file), classes)
        assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1.0


def test_files_without_info(tmp_path: Path) -> None:
    # pycocotools 2.0.9 and 2.0.10 look it up when they index predictions.
    content = json.loads(write(tmp_path).read_text())
    assert 'info' not in content
    assert CocoIndex(content).dataset['info'] == {}


def test_nothing_predicted_scores_zero(tmp_path: Path) -> None:
    file = write(tmp_path)
    scores = score(file, without_predictions(perfect(file)))
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 0.0


@pytest.mark.parametrize('part', [slice(1), slice(1, 3)])
def test_a_part_of_the_images_is_scored_alone(tmp_path: Path, part: slice) -> None:
    file = write(tmp_path)
    assert score(file, perfect(file)[part])['coco/segm_mAP'] == 1.0


def test_images_that_come_twice_are_scored_once(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert score(file, perfect(file) * 2)['coco/segm_mAP'] == 1.0


def with_truth(file: Path, folder: str) -> list[dict[str, Any]]:
    """Perfect samples of a set in a folder, which bring their truth."""
    samples = perfect(file)
    truth = COCO(str(file))
    for sample in samples:
        sample['img_path'] = f'{folder}/{sample["img_path"]}'
        sample['instances'] = [
            dict(
                bbox=[*e['bbox'][:2], e['bbox'][0] + e['bbox'][2], e['bbox'][1] + e['bbox'][3]],
                bbox_label=e['category_id'] - 1,
                ignore_flag=0,
                mask=e['segmentation'],
            )
            for e in truth.imgToAnns[sample['img_id']]
        ]
    return samples


def score_alone(*rounds: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The scores of an evaluator without a file, round after round."""
    evaluator = Evaluator(InstanceMetric(metric=['bbox', 'segm']))
    evaluator.dataset_meta = dict(classes=NAMES)
    scores = []
    for samples in rounds:
        evaluator.process(samples, None)
        scores.append(evaluator.evaluate(len(samples)))
    return scores


def test_sets_with_the_same_ids_are_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path)
    first, second = with_truth(file, 'a'), with_truth(file, 'b')
    missed = without_predictions(first)
    unnamed = [{k: v for k, v in s.items() if k != 'img_path'} for s in missed]
    for sample in unnamed:
        sample['instances'] = sample['instances'][:1]
    both, half, swapped, other = score_alone(
        first + second, missed + second, second + missed, unnamed + second
    )
    for kind in ('coco/bbox_mAP', 'coco/segm_mAP'):
        assert both[kind] == 1.0
        assert 0.4 < half[kind] == swapped[kind] < 0.6
        assert other[kind] < 0.9
    # One file cannot be the truth of two images.
    with pytest.raises(AnnotationError, match=r"has two: 'a/imgs/0\.png' and 'b/imgs/0\.png'"):
        score(file, first + second)


def test_nothing_predicted_scores_zero_without_a_file(tmp_path: Path) -> None:
    samples = with_truth(write(tmp_path), 'a')
    nothing, perfect_ones = score_alone(without_predictions(samples), samples)
    for kind in ('coco/bbox_mAP', 'coco/segm_mAP'):
        assert (nothing[kind], perfect_ones[kind]) == (0.0, 1.0)


def test_an_evaluator_without_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="'instances' to meta_keys"):
        score_alone(perfect(write(tmp_path)))


def test_names_agree_with_their_folders(tmp_path: Path) -> None:
    names = [dict(id=i, file_name=f'./a/{i}.png', width=60, height=40) for i in range(3)]
    file = write(tmp_path, images=names)
    samples = perfect(file)
    assert score(file, samples)['coco/segm_mAP'] == 1.0
    for path in ('imgs/b/0.png', '0.png', 'imgs/aa/10.png'):
        with pytest.raises(AnnotationError, match='is not that of the data set'):
            score(file, [samples[0] | dict(img_path=path)])


@pytest.mark.parametrize('change', [dict(img_id=9), dict(img_path='imgs/other.png')])
def test_other_images_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write(tmp_path)
    says = pytest.raises(AnnotationError, match=r"truth\.json' is not that of the data set")
    sample = perfect(file)[0] | change
    with says:
        score(file, [sample])
    # Said before the first image is predicted, too.
    metric = InstanceMetric(str(file))
    metric.dataset_meta = dict(classes=NAMES)
    dataset = MagicMock(get_data_info=lambda index: sample, __len__=lambda self: 1)
    with says:
        metric.check_dataset(dataset)


@pytest.mark.parametrize(
    'change',
    [
        dict(ignore=1),
        dict(iscrowd=1),
        dict(area=0),
        dict(bbox=[30, 20, 0, 10]),
        dict(bbox=[50, 30, -20, -10]),
        dict(bbox=[60, 20, 20, 10]),
        dict(bbox=[30, -10, 20, 10]),
    ],
)
def test_what_is_left_out_in_training_is_neither_hit_nor_missed(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    file = write(tmp_path)
    content = json.loads(file.read_text())
    content['annotations'][0] |= change
    file.write_text(json.dumps(content))
    samples = perfect(file)
    assert score(file, samples)['coco/segm_mAP'] == 1.0
    prediction = samples[0]['pred_instances']
    samples[0]['pred_instances'] = {k: v[1:] for k, v in prediction.items()}
    assert score(file, samples)['coco/segm_mAP'] == 1.0


@pytest.mark.parametrize('thresholds', [0.5, [0.5], [0.5, 0.75]])
def test_own_thresholds(tmp_path: Path, thresholds: Any) -> None:
    file = write(tmp_path)
    assert score(file, perfect(file), iou_thrs=thresholds)['coco/segm_mAP'] == 1.0
    with pytest.raises(AnnotationError, match='classwise'):
        score(file, [], iou_thrs=thresholds, classwise=True)


def test_faults_are_said_before_anything_runs(tmp_path: Path) -> None:
    metric = InstanceMetric(str(write(tmp_path, annotations=[])))
    with pytest.raises(AnnotationError, match='no usable instance'):
        metric.dataset_meta = dict(classes=NAMES)
    metric = InstanceMetric(str(tmp_path / 'nowhere.json'))
    with pytest.raises(DatasetNotFoundError, match=r'nowhere\.json'):
        metric.dataset_meta = dict(classes=NAMES)


@pytest.mark.parametrize('ids', [(1, 2), (7, 3), ('b', 'a')])
@pytest.mark.parametrize('names', [NAMES, NAMES[::-1], NAMES[1:]])
def test_scores_are_those_of_their_class_whatever_the_ids(
    tmp_path: Path, ids: tuple[Any, Any], names: tuple[str, ...]
) -> None:
    file = write(tmp_path)
    content = json.loads(file.read_text())
    for entry in content['annotations']:
        entry['category_id'] = ids[entry['category_id'] - 1]
    for entry, key in zip(content['categories'], ids, strict=True):
        entry['id'] = key
    file.write_text(json.dumps(content))
    samples = perfect(file)
    # Ships are found in one image of three, piers in all.
    for number, sample in enumerate(samples):
        prediction = sample['pred_instances']
        found = [NAMES[label] for label in prediction['labels'].tolist()]
        kept = [
            k for k, name in enumerate(found) if name in names and (name == 'pier' or not number)
        ]
        prediction = {k: v[kept] for k, v in prediction.items() if k != 'masks'}
        prediction['masks'] = [sample['pred_instances']['masks'][k] for k in kept]
        prediction['labels'] = torch.tensor([names.index(found[k]) for k in kept])
        sample['pred_instances'] = prediction
    metric = InstanceMetric(
        str(file), ['bbox', 'segm'], classwise=True, outfile_prefix=str(tmp_path / 'out')
    )
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=names)
    evaluator.process(samples)
    scores = evaluator.evaluate(len(samples))
    assert scores['coco/pier_precision'] == 1.0
    if 'ship' in names:
        assert scores['coco/ship_precision'] == pytest.approx(34 / 101, abs=1e-3)
    # What is written has the ids of the file.
    written = json.loads((tmp_path / 'out.segm.json').read_text())
    assert sum(entry['category_id'] == ids[1] for entry in written) == 3


@pytest.mark.parametrize('ids', [(1, 2, 3), (100, 3, 7)])
@pytest.mark.parametrize('order', [(0, 1, 2), (2, 0, 1)])
def test_precision_by_class_is_that_of_pycocotools(
    tmp_path: Path, ids: tuple[int, ...], order: tuple[int, ...]
) -> None:
    """Each class alone, by pycocotools on the file as it is, where annotations begin with 1."""
    generator = np.random.default_rng(0)
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    samples = []
    for image in range(12):
        labels = generator.integers(0, 3, 5)
        corners = generator.integers(0, 40, (5, 2)).astype(float)
        shifts = generator.integers(0, 4, (5, 2)) * (labels[:, None] + 1)
        scores = generator.random(5)
        guesses = np.where(generator.random(5) < 0.8, labels, (labels + 1) % 3)
        masks = []
        for (x, y), shift, label, guess, number in zip(
            corners, shifts, labels, guesses, scores, strict=True
        ):
            square = [x, y, x + 20, y, x + 20, y + 20, x, y + 20]
            truth.append(
                dict(
                    id=len(truth) + 1,
                    image_id=image,
                    category_id=ids[label],
                    bbox=[x, y, 20, 20],
                    area=400,
                    iscrowd=0,
                    segmentation=[square],
                )
            )
            mask = np.zeros((80, 80), np.uint8)
            column, row = np.array([x, y], int) + shift
            mask[row : row + 20, column : column + 20] = 1
            masks.append(coco_mask.encode(np.asfortranarray(mask)))
            results.append(
                dict(
                    image_id=image,
                    category_id=ids[guess],
                    segmentation=masks[-1],
                    score=float(np.float32(number)),
                )
            )
        boxes = np.c_[corners + shifts, corners + shifts + 20]
        prediction = dict(
            bboxes=torch.tensor(boxes),
            scores=torch.tensor(scores, dtype=torch.float32),
            labels=torch.tensor([order.index(guess) for guess in guesses]),
            masks=masks,
        )
        samples.append(
            dict(
                img_id=image,
                img_path=f'imgs/{image}.png',
                ori_shape=(80, 80),
                pred_instances=prediction,
            )
        )
    names = [f'class {label}' for label in range(3)]
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=80, height=80) for i in range(12)],
        categories=[dict(id=key, name=name) for key, name in zip(ids, names, strict=True)],
        annotations=truth,
    )
    file = tmp_path / 'truth.json'
    file.write_text(json.dumps(content))
    metric = InstanceMetric(str(file), metric=['segm'], classwise=True)
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=tuple(names[label] for label in order))
    evaluator.process(samples, None)
    found = evaluator.evaluate(len(samples))
    theirs = COCO(str(file))
    precisions = []
    for key, name in zip(ids, names, strict=True):
        evaluation = COCOeval(theirs, theirs.loadRes(copy.deepcopy(results)), 'segm')
        evaluation.params.catIds = [key]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        precisions.append(evaluation.stats[0])
        assert found[f'coco/{name}_precision'] == pytest.approx(evaluation.stats[0], abs=6e-4)
    assert len({round(value, 2) for value in precisions}) == 3
    assert found['coco/segm_mAP'] == pytest.approx(np.mean(precisions), abs=6e-4)


def test_a_model_without_masks_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    samples = perfect(file)
    del samples[0]['pred_instances']['masks']
    with pytest.raises(AnnotationError, match="metric='bbox'"):
        score(file, samples)
