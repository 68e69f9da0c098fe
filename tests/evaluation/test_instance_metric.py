"""Perfect predictions score 1, none score 0, and other images than the data set's are refused."""

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
    metric = InstanceMetric(str(write(tmp_path)))
    with pytest.raises(AnnotationError, match='order of categories'):
        metric.dataset_meta = dict(classes=NAMES[::-1])
    metric = InstanceMetric(str(tmp_path / 'nowhere.json'))
    with pytest.raises(DatasetNotFoundError, match=r'nowhere\.json'):
        metric.dataset_meta = dict(classes=NAMES)


def test_a_model_without_masks_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    samples = perfect(file)
    del samples[0]['pred_instances']['masks']
    with pytest.raises(AnnotationError, match="metric='bbox'"):
        score(file, samples)
