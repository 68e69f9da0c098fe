"""Checks of data sets find what was broken, count it, and leave what is whole alone."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from rs4d.datasets import AnnotationError, SSDDInsSegDataset
from rs4d.datasets.annotation_checks import check_annotations
from rs4d.datasets.coco_file import read_coco
from rs4d.datasets.masks import decode_texts, encode_rle, run_lengths
from rs4d.datasets.report import DatasetReport, Finding

SQUARE = [30, 20, 50, 20, 50, 30, 30, 30]
TURNED = [20, 30, 20, 50, 30, 50, 30, 30]


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


def rle(counts: Any) -> dict[str, Any]:
    return dict(size=[40, 60], counts=counts)


def found(content: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Names of all findings, with severity and count."""
    findings = check_annotations(content, ['ship'], subset='x').findings
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
        (dict(bbox=[40, 20, 25, 10]), 'boxes beyond the edge', 'warning'),
        (dict(bbox=[30, 20]), 'malformed boxes', 'error'),
        (dict(bbox=[30, 20, float('nan'), 5]), 'malformed boxes', 'error'),
        (dict(image_id=7), 'unknown image_id', 'error'),
        (dict(category_id=7), 'unknown category_id', 'error'),
        (dict(segmentation=[[30, 20, 50, 30]]), 'polygons under three points', 'error'),
        (dict(segmentation=[SQUARE[:7]]), 'polygons under three points', 'error'),
        (dict(segmentation=[SQUARE, [1, 1, 2, 2]]), 'small second polygons', 'warning'),
        (dict(segmentation=[]), 'no segmentation', 'error'),
        (dict(segmentation=[[v + 70 for v in SQUARE]]), 'masks off their boxes', 'error'),
        (dict(segmentation=[[v / 60 for v in SQUARE]]), 'masks off their boxes', 'error'),
        (dict(segmentation=[TURNED]), 'masks off their boxes', 'error'),
        (dict(bbox=[40, 25, 20, 10]), 'masks off their boxes', 'error'),
        (dict(segmentation=[[30, 20, 40, 25, 50, 30]]), 'empty masks', 'warning'),
        # Out and back, round a corner: an outline of what is one pixel wide.
        (dict(segmentation=[[30, 20, 30, 29, 49, 29, 30, 29]]), 'empty masks', 'warning'),
        (dict(segmentation=[[30, 20] * 4, [31, 21] * 3]), 'empty masks', 'warning'),
        (dict(segmentation=rle([2400])), 'empty masks', 'warning'),
        (dict(segmentation=dict(size=[60, 40], counts='')), 'masks of another size', 'error'),
        (dict(segmentation=dict(size=[40.0, 60], counts=[2400])), 'masks of another size', 'error'),
        (dict(segmentation=dict(size=[40, 60])), 'malformed masks', 'error'),
        (dict(segmentation=rle(None)), 'malformed masks', 'error'),
        (dict(segmentation=rle([5, 10])), 'malformed masks', 'error'),
        (dict(segmentation=rle([2410, -10])), 'malformed masks', 'error'),
        (dict(segmentation=rle([2300.5, 99.5])), 'malformed masks', 'error'),
        (dict(segmentation=rle('not run lengths')), 'malformed masks', 'error'),
        (dict(segmentation=rle('PP')), 'malformed masks', 'error'),
        (dict(segmentation=rle('')), 'malformed masks', 'error'),
        (dict(segmentation=rle('\u4e2d')), 'malformed masks', 'error'),
        (dict(segmentation=rle('o' * 9 + '1')), 'malformed masks', 'error'),
        (dict(segmentation=[[*SQUARE[:7], float('nan')]]), 'malformed polygons', 'error'),
        (dict(segmentation=[[*SQUARE[:7], 1e12]]), 'malformed polygons', 'error'),
        (dict(segmentation=[[*SQUARE[:7], 10**400]]), 'malformed polygons', 'error'),
        (dict(segmentation=[[*SQUARE[:7], '30']]), 'malformed polygons', 'error'),
        (dict(segmentation=[[*SQUARE[:7], None]]), 'malformed polygons', 'error'),
        (dict(segmentation=[SQUARE, None]), 'malformed polygons', 'error'),
        (dict(segmentation=SQUARE), 'malformed polygons', 'error'),
        (dict(segmentation='30 20'), 'no segmentation', 'error'),
        (dict(bbox=[30, 20, '5', 5]), 'malformed boxes', 'error'),
        (dict(bbox=[30, 20, 5, 1e9]), 'malformed boxes', 'error'),
        (dict(bbox=None), 'malformed boxes', 'error'),
        (dict(area='200'), 'malformed areas', 'error'),
        (dict(area=float('nan')), 'malformed areas', 'error'),
        (dict(area=None), 'malformed areas', 'error'),
        (dict(iscrowd='0'), 'malformed flags', 'error'),
        (dict(iscrowd=None), 'malformed flags', 'error'),
        (dict(ignore=[]), 'malformed flags', 'error'),
        (dict(image_id=[0]), 'malformed ids', 'error'),
        (dict(category_id=None), 'malformed ids', 'error'),
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
        (dict(images=[dict(id='0', file_name='0.png', width=60, height=40)]), 'unknown image_id'),
        (dict(images=[dict(id=0, file_name=0, width=60, height=40)]), 'malformed ids'),
        (dict(images=[dict(id=0, file_name='a\0b', width=60, height=40)]), 'malformed ids'),
        (dict(images=[dict(id=0, file_name='\ud800', width=60, height=40)]), 'malformed ids'),
        (dict(images=[dict(id=0, file_name='', width=60, height=40)]), 'malformed ids'),
        (dict(images=[dict(id={}, file_name='0.png', width=60, height=40)]), 'malformed ids'),
        (dict(categories=[dict(id=1, name=None)]), 'malformed ids'),
        (dict(categories=[dict(id=1, name='boat')]), 'categories'),
        (dict(annotations=[]), 'no usable instance'),
        (dict(annotations=[annotation(iscrowd=1)]), 'no usable instance'),
        (dict(annotations=[annotation(ignore=1)]), 'no usable instance'),
    ],
)
def test_faults_of_the_whole_file(changes: dict, check: str) -> None:
    findings = check_annotations(coco(annotation(), **changes), ['ship']).findings
    named = {finding.check: finding for finding in findings}
    match = next(finding for name, finding in named.items() if check in name)
    assert match.fatal


def test_masks_that_are_whole_are_not_called_wrong() -> None:
    eight = [30, 20, 50, 30, 50, 20, 30, 30]  # its signed area is 0
    mask = np.zeros((40, 60), bool)
    mask[20:30, 30:50] = True
    counts = run_lengths(encode_rle(mask)['counts'])
    assert counts is not None
    several = [[eight], [SQUARE, [30, 20, 31, 21, 32, 22]], encode_rle(mask), rle(counts.tolist())]
    content = coco(*(annotation(i, segmentation=one) for i, one in enumerate(several)))
    del content['annotations'][0]['iscrowd']
    assert found(content) == {}


@pytest.mark.parametrize('density', [0.001, 0.02, 0.5, 0.999])
def test_run_lengths_are_those_of_pycocotools(density: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((83, 211)) < density
        counts = run_lengths(encode_rle(mask)['counts'])
        assert counts is not None
        assert counts.sum() == mask.size
        values = np.arange(len(counts)) % 2 == 1
        assert np.array_equal(np.repeat(values, counts).reshape(211, 83).T, mask)


def test_damaged_run_lengths_spoil_no_others() -> None:
    """Masks are decoded many at once."""
    rng = np.random.default_rng(0)
    wholes = [encode_rle(rng.random((40, 60)) < share)['counts'] for share in (0.01, 0.3, 0.9)]
    damaged = ['', 'é', '\x7f', 'o', 'ooooooo0', wholes[0] + 'P', wholes[1][:-1] + 'o', '0' * 9]
    texts = [wholes[0], *damaged, wholes[1], *damaged, wholes[2]]
    values, first, good = decode_texts(texts)
    found = np.split(values, first[1:])
    for text, lengths, fine in zip(texts, found, good.tolist(), strict=True):
        alone = run_lengths(text)
        assert (alone is not None) == fine
        assert text not in wholes or (fine and lengths.sum() == 40 * 60)
        assert alone is None or alone.tolist() == lengths.tolist()
    several = [annotation(i, segmentation=rle(text)) for i, text in enumerate(texts)]
    names = {
        finding.check: finding for finding in check_annotations(coco(*several), ['ship']).findings
    }
    assert names['malformed masks'].count == 2 * len(damaged)


def test_crowds_are_no_usable_instances() -> None:
    content = coco(annotation(1), annotation(2, iscrowd=1), annotation(3, ignore=1))
    checked = check_annotations(content, ['ship'])
    assert [entry['id'] for entry in checked.used] == [1]
    assert checked.findings == []


@pytest.mark.parametrize('masks', [False, True])
def test_file_of_many_instances_is_checked_in_seconds(masks: bool) -> None:
    mask = np.zeros((40, 60), bool)
    mask[20:30, 30:50] = True
    changes = dict(segmentation=encode_rle(mask)) if masks else {}
    content = coco(*(annotation(i, **changes) for i in range(10_000)))
    start = time.process_time()
    assert found(content) == {}
    assert time.process_time() - start < 3


def test_file_listed_twice() -> None:
    image = dict(file_name='0.png', width=60, height=40)
    content = coco(annotation(), images=[image | dict(id=i) for i in (0, 1)])
    assert found(content) == {'file listed twice': ('warning', 1)}


def test_two_corners_in_most_boxes() -> None:
    wrong = [annotation(i, bbox=[30, 20, 50, 30]) for i in range(3)]
    assert found(coco(annotation(9), *wrong)) == {'two corners': ('error', 3)}


def placed(number: int, x: int, y: int, corners: bool) -> dict[str, Any]:
    """An instance of 20 x 10 pixels at a point."""
    shape = [x, y, x + 20, y, x + 20, y + 10, x, y + 10]
    box = [x, y, x + 20, y + 10] if corners else [x, y, 20, 10]
    return annotation(number, bbox=box, segmentation=[shape])


# In the first column, boxes read as two corners stay inside of the image.
@pytest.mark.parametrize('columns', [(5,), (5, 30), (5, 15, 15, 30)])
def test_two_corners_that_stay_inside_of_the_image(columns: tuple[int, ...]) -> None:
    content = coco(*(placed(i, x, 8, True) for i, x in enumerate(columns * 3)))
    content['images'][0]['height'] = 200
    assert found(content) == {'two corners': ('error', len(columns * 3))}
    content['annotations'] = [placed(i, x, 8, False) for i, x in enumerate(columns * 3)]
    assert found(content) == {}


def test_some_odd_boxes_are_no_two_corners() -> None:
    # Masks at the origin fit both ways; a mask may also lie in a corner of a loose box.
    shapes = [annotation(1, bbox=[0, 0, 20, 10], segmentation=[[0, 0, 20, 0, 20, 10, 0, 10]])]
    shapes += [placed(2, 5, 8, True), *(placed(i, 30, 20, False) for i in (3, 4))]
    assert 'two corners' not in found(coco(*shapes))


@pytest.mark.parametrize(
    ('width', 'check'),
    [
        (60.0, None),
        (60, None),
        ('60', 'size as text'),
        (60.5, 'image without a size'),
        (float('nan'), 'image without a size'),
        (float('inf'), 'image without a size'),
        (True, 'image without a size'),
        (None, 'image without a size'),
    ],
)
def test_sizes_are_whole_numbers(
    tiny_coco: Callable[..., Path], width: Any, check: str | None
) -> None:
    images = [dict(id=i, file_name=f'{i}.png', width=width, height=40) for i in range(3)]
    root = tiny_coco(images=images)
    settings = dict(ann_file='annotations/train.json', data_prefix=dict(img='imgs/'))
    if check is None:
        dataset = SSDDInsSegDataset(data_root=str(root), **settings)
        assert type(dataset.get_data_info(0)['width']) is int
        return
    with pytest.raises(AnnotationError, match=check) as info:
        SSDDInsSegDataset(data_root=str(root), **settings)
    assert 'its annotation says' not in str(info.value)


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('', 'is empty'),
        (' \n', 'is empty'),
        ('{"images": [{"file_name": "a.p', 'ends too early'),
        ('{"images": [{"file_name": "a\\u00', 'ends too early'),
        ('{"images": [{"file_name": "\u6e2f'.encode()[:-1], 'ends too early'),
        ('{"images": [{"file_na', 'ends too early'),
        ('{"images": [{"id": 1', 'ends too early'),
        ('{"images": [{"id": -', 'ends too early'),
        ('{"images": [{"seen": tr', 'ends too early'),
        ('{"images": [', 'ends too early'),
        ('{"images": [}', 'another kind of file, or was damaged'),
        ('{"images": [{"a": "\\u00"}]}', 'another kind of file, or was damaged'),
        ('a text', 'another kind of file, or was damaged'),
    ],
)
def test_what_is_said_of_files_that_are_not_json(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    file = tmp_path / 'a.json'
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AnnotationError, match=says):
        read_coco(file, '')


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
        findings = check_annotations(content, ()).findings
        assert time.perf_counter() - start < 1
        assert findings == []
