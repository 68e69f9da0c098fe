"""Checks of data sets find what was broken, count it, and leave what is whole alone."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from rs4d.datasets import AnnotationError, SSDDInsSegDataset
from rs4d.datasets.annotation_checks import instance_findings, structure_findings
from rs4d.datasets.checks import read_coco
from rs4d.datasets.report import DatasetReport, Finding

SQUARE = [30, 20, 50, 20, 50, 30, 30, 30]


def annotation(number: int = 1, **changes: Any) -> dict[str, Any]:
    entry = dict(id=number, image_id=0, category_id=1, bbox=[30, 20, 20, 10], area=200, iscrowd=0)
    return entry | dict(segmentation=[SQUARE]) | changes


def coco(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    content = dict(
        images=[dict(id=0, file_name='0.png', width=60, height=40)],
        categories=[dict(id=1, name='ship')],
        annotations=list(annotations),
    )
    return content | changes


def found(content: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Names of all findings, with severity and count."""
    findings = structure_findings(content, 'x') + instance_findings(content, ['ship'], 'x')
    return {f.check: (f.severity, f.count) for f in findings}


def test_nothing_is_found_in_a_whole_file() -> None:
    assert found(coco(annotation())) == {}


@pytest.mark.parametrize(
    ('changes', 'check', 'severity'),
    [
        (dict(bbox=[30, 20, 0, 10]), 'empty boxes', 'warning'),
        (dict(area=0), 'empty boxes', 'warning'),
        (dict(bbox=[60, 20, 20, 10]), 'boxes outside', 'warning'),
        (dict(bbox=[-30, 20, 20, 10]), 'boxes outside', 'warning'),
        (dict(bbox=[50, 20, 20, 10]), 'boxes beyond the edge', 'warning'),
        (dict(bbox=[30, 20]), 'malformed boxes', 'error'),
        (dict(bbox=[30, 20, float('nan'), 5]), 'malformed boxes', 'error'),
        (dict(image_id=7), 'unknown image_id', 'error'),
        (dict(category_id=7), 'unknown category_id', 'error'),
        (dict(segmentation=[[30, 20, 50, 30]]), 'polygons under three points', 'error'),
        (dict(segmentation=[SQUARE[:7]]), 'polygons under three points', 'error'),
        (dict(segmentation=[SQUARE, [1, 1, 2, 2]]), 'small second polygons', 'warning'),
        (dict(segmentation=[]), 'no segmentation', 'error'),
        (dict(segmentation=[[v + 70 for v in SQUARE]]), 'polygons outside', 'warning'),
        (dict(segmentation=dict(size=[60, 40], counts='')), 'masks of another size', 'error'),
    ],
)
def test_each_fault_is_found_among_whole_instances(
    changes: dict, check: str, severity: str
) -> None:
    whole = [annotation(i) for i in range(2, 6)]
    broken = [annotation(i, **changes) for i in (6, 7)]
    assert found(coco(*whole, *broken)) == {check: (severity, 2)}


@pytest.mark.parametrize('numbers', [2, 4])
def test_coco_itself_stops_at_small_polygons(numbers: int) -> None:
    api = COCO()
    api.dataset = coco(annotation(segmentation=[SQUARE[:numbers]]))
    api.createIndex()
    with pytest.raises(Exception, match=r'not supported|incorrect type'):
        api.annToMask(api.anns[1])


@pytest.mark.parametrize(
    ('changes', 'check'),
    [
        (dict(images=[dict(id=0, file_name='0.png', width=0, height=40)]), 'image without a size'),
        (dict(images=[dict(id=0, file_name='0.png', width=60)]), 'missing keys'),
        (dict(annotations=[annotation(), annotation()]), 'duplicate ids'),
        (dict(categories=[dict(id=1, name='ship'), dict(id=1, name='x')]), 'duplicate ids'),
        (dict(categories=[dict(id=i, name='ship') for i in (1, 2)]), 'named twice'),
        (dict(annotations=[]), 'no usable instance'),
    ],
)
def test_faults_of_the_whole_file(changes: dict, check: str) -> None:
    content = coco(annotation(), **changes)
    findings = structure_findings(content, 'x')
    if not any(finding.check == 'missing keys' for finding in findings):
        findings += instance_findings(content, ['ship'], 'x')
    named = {finding.check: finding for finding in findings}
    match = next(finding for name, finding in named.items() if check in name)
    assert match.fatal


def test_file_listed_twice() -> None:
    image = dict(file_name='0.png', width=60, height=40)
    content = coco(annotation(), images=[image | dict(id=i) for i in (0, 1)])
    assert found(content) == {'file listed twice': ('warning', 1)}


def test_two_corners_in_most_boxes() -> None:
    wrong = [annotation(i, bbox=[30, 20, 50, 30]) for i in range(3)]
    assert found(coco(annotation(9), *wrong)) == {'two corners': ('error', 3)}


def test_all_that_is_fatal_is_named_when_a_set_is_built(tiny_coco: Callable[..., Path]) -> None:
    root = tiny_coco(
        annotations=[
            annotation(1, segmentation=[[1, 2, 3, 4]]),
            annotation(2, bbox=[30, 20]),
            annotation(3, image_id=9),
        ]
    )
    with pytest.raises(AnnotationError) as info:
        SSDDInsSegDataset(
            data_root=str(root), ann_file='annotations/train.json', data_prefix=dict(img='imgs/')
        )
    for part in ('polygons under three points: 1', 'malformed boxes: 1', 'unknown image_id: 1'):
        assert part in str(info.value)
    assert '\n' not in str(info.value)


def test_report_as_text_and_json() -> None:
    report = DatasetReport([], [Finding('warning', 'a', 'train', 2, 'Why a.', ['one', 'two'])])
    report.findings.append(Finding('error', 'b', 'val', 9, 'Why b.', ['x', 'y', 'z', 'q']))
    text = str(report)
    assert text.index('error ') < text.index('warning ')
    assert 'x, y, z, ...' in text
    assert 'b: Why b.' in text
    assert '1 kinds of error, 1 of warning.' in text
    content = json.loads(json.dumps(report.as_dict()))
    assert (content['errors'], content['warnings']) == (1, 1)
    assert content['findings'][0]['examples'] == ['one', 'two']


def test_annotations_of_real_sets_are_checked_in_under_a_second(
    data_root: Callable[[str], Path],
) -> None:
    for name in ('SSDD', 'NWPU'):
        file = data_root(name) / 'annotations' / f'{name}_instances_train.json'
        start = time.perf_counter()
        content = read_coco(file, '')
        findings = structure_findings(content, 'x') + instance_findings(content, [], 'x')
        assert time.perf_counter() - start < 1
        assert findings == []
