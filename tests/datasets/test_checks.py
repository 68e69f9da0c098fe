"""Checks of data sets find what was broken, count it, and leave what is whole alone."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from rs4d.datasets import AnnotationError, SSDDInsSegDataset
from rs4d.datasets.annotation_checks import instance_findings, structure_findings
from rs4d.datasets.checks import read_coco
from rs4d.datasets.image_checks import (
    ImageFile,
    duplicate_findings,
    file_findings,
    has_foreign_bytes,
    has_zeros,
)
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


def write(path: Path, value: int, size: tuple[int, int] = (40, 60)) -> str:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
    return str(path)


def test_files(tmp_path: Path) -> None:
    good = ImageFile(write(tmp_path / 'a.png', 1), noted=(60, 40))
    turned = ImageFile(write(tmp_path / 'b.png', 1, (60, 40)), noted=(60, 40))
    gone = ImageFile(str(tmp_path / 'gone.png'), noted=(60, 40))
    (tmp_path / 'broken.png').write_bytes(b'no image')
    broken = ImageFile(str(tmp_path / 'broken.png'))
    findings, present = file_findings([good, turned, gone, broken], 'train')
    assert {f.check: f.count for f in findings} == {
        'sizes that differ': 1,
        'missing files': 1,
        'broken images': 1,
    }
    assert present == [good, turned]
    assert 'b.png: 40x60, noted 60x40' in findings[0].examples[0]


def test_image_that_breaks_off_is_found_when_decoded(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:60])
    assert file_findings([ImageFile(str(path))], 'x')[0] == []
    assert file_findings([ImageFile(str(path))], 'x', True)[0][0].check == 'broken images'


def noise_jpeg(*options: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    return cv2.imencode('.jpg', noise, options)[1].tobytes()


def test_damage_inside_of_a_jpeg_is_found_when_decoded(tmp_path: Path) -> None:
    whole = noise_jpeg()
    middle = len(whole) // 2
    foreign = np.random.default_rng(0).bytes(4096)
    for content, check in ((foreign, 'broken images'), (bytes(4096), 'zeros inside')):
        path = tmp_path / 'a.jpg'
        path.write_bytes(whole[:middle] + content + whole[middle + 4096 :])
        assert cv2.imread(str(path)) is not None  # without a word
        assert file_findings([ImageFile(str(path))], 'x')[0] == []
        (finding,) = file_findings([ImageFile(str(path))], 'x', decode_all=True)[0]
        assert finding.check == check


@pytest.mark.parametrize('option', ['PROGRESSIVE', 'OPTIMIZE', 'RST_INTERVAL'])
def test_whole_jpegs_of_all_kinds_are_not_called_damaged(option: str) -> None:
    data = noise_jpeg(getattr(cv2, f'IMWRITE_JPEG_{option}'), 1)
    # A preview of a camera, and what it may have put behind the image.
    for whole in (data, data[:2] + b'\xff\xe1\x00\x06\xff\xaa\xff\xab' + data[2:] + b'\xff\xaa'):
        assert not has_foreign_bytes(whole)
        assert not has_zeros(whole)
    assert not has_foreign_bytes(b'\x89PNG\xff\xda\xff\x01')


def test_real_jpegs_are_not_called_damaged(data_root: Callable[[str], Path]) -> None:
    files = [path for name in ('SA1B', 'SSDD', 'NWPU') for path in data_root(name).rglob('*.jpg')]
    assert len(files) > 1000
    for data in map(Path.read_bytes, files):
        assert not has_foreign_bytes(data)
        assert not has_zeros(data)


def test_duplicates_by_content(tmp_path: Path) -> None:
    train = [ImageFile(write(tmp_path / f't{i}.png', value)) for i, value in enumerate((1, 2, 2))]
    val = [ImageFile(write(tmp_path / f'v{i}.png', value)) for i, value in enumerate((2, 2, 9))]
    findings = {f.check + f.subset: f for f in duplicate_findings(dict(train=train, val=val))}
    assert findings['same image twicetrain'].count == 1
    assert findings['same image twiceval'].count == 1
    # Two files of val are in train.
    both = findings['same image in bothtrain / val']
    assert both.count == 2
    assert both.examples == ['t1.png = v0.png', 't1.png = v1.png']
    assert not any(finding.fatal for finding in findings.values())


def test_same_file_in_two_sets(tmp_path: Path) -> None:
    image = ImageFile(write(tmp_path / 'a.png', 1))
    (finding,) = duplicate_findings(dict(train=[image], val=[image]))
    assert finding.count == 1


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


def test_images_of_real_ssdd_that_are_in_train_and_val(data_root: Callable[[str], Path]) -> None:
    root = data_root('SSDD')
    sets = {}
    for split in ('train', 'val'):
        content = json.loads((root / f'annotations/SSDD_instances_{split}.json').read_text())
        sets[split] = [str(root / 'imgs' / image['file_name']) for image in content['images']]
    known = {Path(path).read_bytes() for path in sets['train']}
    expected = sum(Path(path).read_bytes() in known for path in sets['val'])
    images = {split: [ImageFile(path) for path in paths] for split, paths in sets.items()}
    both = [f for f in duplicate_findings(images) if f.check == 'same image in both']
    assert [finding.count for finding in both] == [expected] == [8]
