"""What a test leaves is what was scored, to the last digit, and is read as data."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from scored_sets import CLASSES, scored

from rs4d.errors import UserError
from rs4d.evaluation import (
    InstanceMetric,
    RecordedTestError,
    average_precision,
    find_test,
    match,
    mean_over_classes,
    read_test,
)


def samples(content: dict[str, Any], predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predictions as a model gives them."""
    labels = {key: label for label, key in enumerate(CLASSES)}
    result = []
    for image in content['images']:
        found = [one for one in predictions if one['image_id'] == image['id']]
        boxes = torch.tensor([one['bbox'] for one in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = dict(
            bboxes=boxes / 1.0001,
            scores=torch.tensor([one['score'] for one in found]),
            labels=torch.tensor([labels[one['category_id']] for one in found], dtype=torch.long),
            masks=[
                dict(o['segmentation'], counts=o['segmentation']['counts'].encode()) for o in found
            ],
        )
        result.append(
            dict(
                img_id=image['id'],
                img_path=f'imgs/{image["file_name"]}',
                ori_shape=(image['height'], image['width']),
                pred_instances=instances,
            )
        )
    return result


def recorded(folder: Path, images: int = 24) -> dict[str, float]:
    """Score a set, of which the first images are scored, into ``folder``; returns the scores."""
    content, predictions = scored(0)
    file = folder / 'annotations.json'
    folder.mkdir(exist_ok=True)
    file.write_text(json.dumps(copy.deepcopy(content)))
    metric = InstanceMetric(str(file), metric=['bbox', 'segm'])
    metric.record_to = folder / 'run'
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=tuple(CLASSES.values()))
    evaluator.process(samples(content, predictions)[:images], None)
    return evaluator.evaluate(images)


@pytest.mark.parametrize('images', [24, 10])
def test_figures_of_the_record_are_those_of_the_metric(tmp_path: Path, images: int) -> None:
    scores = recorded(tmp_path, images)
    test = read_test(tmp_path / 'run')
    assert test.has_masks
    assert test.metrics == {}
    assert len(test.truth.imgs) == images
    assert test.truth.imgs[3]['path'] == str(Path('imgs/3.png').absolute())
    for kind in ('bbox', 'segm'):
        by_class = match(test.truth, test.predictions, kind).by_class['all']
        value = mean_over_classes([average_precision(one)[0] for one in by_class]).mean()
        assert scores[f'coco/{kind}_mAP'] == pytest.approx(value, abs=5.1e-4)  # three digits


def test_all_digits_are_kept(tmp_path: Path) -> None:
    recorded(tmp_path)
    content, predictions = scored(0)
    boxes = [one['pred_instances']['bboxes'].double() for one in samples(content, predictions)]
    boxes = torch.cat(boxes)
    boxes[:, 2:] -= boxes[:, :2]
    found = [one['bbox'] for one in read_test(tmp_path / 'run').predictions]
    np.testing.assert_array_equal(found, boxes)


def test_the_newest_test_of_a_work_dir(tmp_path: Path) -> None:
    recorded(tmp_path)
    assert find_test(tmp_path) == tmp_path / 'run'
    with pytest.raises(RecordedTestError, match=r'holds no test.*rs4d test'):
        find_test(tmp_path / 'nowhere')


def test_files_of_two_tests_are_refused(tmp_path: Path) -> None:
    recorded(tmp_path)
    file = tmp_path / 'run' / 'predictions.json'
    content = json.loads(file.read_text())
    content[5]['image_id'] = 99
    file.write_text(json.dumps(content))
    with pytest.raises(RecordedTestError, match=r'99.*two tests'):
        read_test(tmp_path / 'run')


def test_damaged_files_are_named(tmp_path: Path) -> None:
    recorded(tmp_path)
    for name in ('metrics.json', 'predictions.json', 'truth.json'):
        file = tmp_path / 'run' / name
        file.write_text('{')
        with pytest.raises(UserError, match=name.replace('.', r'\.')):
            read_test(tmp_path / 'run')
        file.unlink()
        if name == 'predictions.json':
            file.write_text('[]')
