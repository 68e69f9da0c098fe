"""Predictions are written and read as data: COCO results, and MMDetection's pickles by name."""

import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.evaluation import DumpDetResults
from pycocotools import mask as coco_mask

from rs4d.checkpoints import UnsafeCheckpointError
from rs4d.errors import UserError
from rs4d.evaluation import ResultsFile, ResultsFileError, read_results, write_results_of

CATEGORIES = (7, 3)


def samples() -> list[dict[str, Any]]:
    """Two images with two instances and with none."""
    masks = torch.zeros(2, 10, 20, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 4:8, 10:19] = True
    boxes = torch.tensor([[3.0, 2, 9, 5], [10.12345, 4, 19, 8]])
    found = dict(bboxes=boxes, scores=torch.tensor([0.9, 0.25]), labels=torch.tensor([1, 0]))
    empty = {name: value[:0] for name, value in found.items()}
    return [
        dict(img_id=5, ori_shape=(10, 20), pred_instances=dict(found, masks=masks)),
        dict(img_id=6, ori_shape=(10, 20), pred_instances=dict(empty, masks=masks[:0])),
    ]


def written(path: Path) -> Path:
    metric = ResultsFile(path, CATEGORIES)
    metric.process(None, samples())
    assert metric.evaluate(size=2) == {}
    return path


def pickled(path: Path, protocol: int = 2) -> Path:
    metric = DumpDetResults(str(path))
    metric.process(None, samples())
    path.write_bytes(pickle.dumps(metric.results, protocol))
    return path


def test_written_as_coco_results(tmp_path: Path) -> None:
    content = json.loads(written(tmp_path / 'a.json').read_text())
    assert [(x['image_id'], x['category_id'], x['bbox']) for x in content] == [
        (5, 3, [3, 2, 6, 3]),
        (5, 7, [10.123, 4, 8.877, 4]),
    ]
    assert [x['score'] for x in content] == pytest.approx([0.9, 0.25])
    masks = [coco_mask.decode(x['segmentation']) for x in content]
    np.testing.assert_array_equal(masks, samples()[0]['pred_instances']['masks'])
    assert read_results(tmp_path / 'a.json', ()) == content


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_pickles_of_mmdetection_hold_the_same(tmp_path: Path, protocol: int) -> None:
    expected = read_results(written(tmp_path / 'a.json'), CATEGORIES)
    path = pickled(tmp_path / 'a.pkl', protocol)
    assert read_results(path, CATEGORIES) == expected


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f'touch {self.path}',)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([Evil(tmp_path / 'ran')]))
    with pytest.raises(UnsafeCheckpointError, match=r'refused.*system.*Nothing of it was run'):
        read_results(tmp_path / 'a.pkl', CATEGORIES)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'change',
    [
        dict(segmentation=None),
        dict(segmentation=dict(size=[10, 20], counts='garbage')),
        dict(segmentation=dict(size=[1000, 20], counts='[1P')),
        dict(segmentation=dict(size=[10, 20])),
        dict(image_id=None),
        dict(score=None),
        dict(score=float('nan')),
    ],
)
def test_what_is_no_prediction_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = written(tmp_path / 'a.json')
    content = json.loads(path.read_text())
    content[1].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(
        ResultsFileError, match=r'a\.json.*instance 1|a\.json.*(TypeError|KeyError)'
    ):
        read_results(path, CATEGORIES)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    for name, content in (('a.json', b'{"a": 1}'), ('b.json', b'no'), ('c.json', b'[1]')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ResultsFileError, match=f'{name[0]}.*tools/test.py --out'):
            read_results(tmp_path / name, CATEGORIES)
    with pytest.raises(ResultsFileError, match='gone'):
        read_results(tmp_path / 'gone.json', CATEGORIES)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([dict(a=1)]))
    with pytest.raises(ResultsFileError, match=r'a\.pkl'):
        read_results(tmp_path / 'a.pkl', CATEGORIES)


@pytest.mark.parametrize(
    'content',
    [
        b'\x80\x04\x8e' + b'\xff' * 8,  # bytes of a size that overflows
        b'\x80\x04\x8e' + b'\xff' * 7 + b'\x1f',
        b'\x80\x02r\xff\xff\xff\x7f.',  # a memo's entry that does not fit into the memory
        b'\x80\x04\x95' + b'\xff' * 8,
        b'\x80\x02h\x05.',
        b'\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft\x85R.',
    ],
)
def test_malformed_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'a.pkl').write_bytes(content)
    with pytest.raises(UserError, match=r'a\.pkl.*cut off'):
        read_results(tmp_path / 'a.pkl', CATEGORIES)


@pytest.mark.parametrize('label', [-1, 2])
def test_labels_that_no_category_has(tmp_path: Path, label: int) -> None:
    (sample, _) = samples()
    sample['pred_instances']['labels'][0] = label
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([sample]))
    with pytest.raises(ResultsFileError, match=r'a\.pkl.*labels from .* of 2 classes'):
        read_results(tmp_path / 'a.pkl', CATEGORIES)


def test_categories_come_from_the_data_set_under_its_wrappers(tmp_path: Path) -> None:
    def loop(dataset: Any) -> Any:
        loader = SimpleNamespace(dataset=dataset)
        return SimpleNamespace(dataloader=loader, evaluator=SimpleNamespace(metrics=[]))

    test = loop(SimpleNamespace(dataset=SimpleNamespace(cat_ids=[7, 3])))
    write_results_of(test, tmp_path / 'a.json')
    assert test.evaluator.metrics[0].category_ids == [7, 3]
    with pytest.raises(ResultsFileError, match='no categories'):
        write_results_of(loop(SimpleNamespace()), tmp_path / 'a.json')
    with pytest.raises(ResultsFileError, match=r'end the file.*\.json'):
        write_results_of(test, tmp_path / 'a.pkl')
