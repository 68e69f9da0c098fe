"""Checks of image files find what is broken, equal or unusual, and leave what is whole alone."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from rs4d.datasets.image_checks import ImageFile, duplicate_findings, file_findings


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


def test_depth_bands_and_turns_are_said(tmp_path: Path) -> None:
    deep, grey, turned = (tmp_path / name for name in ('deep.tif', 'float.tif', 'turned.png'))
    cv2.imwrite(str(deep), np.full((40, 60, 4), 1500, np.uint16))
    Image.fromarray(np.full((40, 60), 0.5, np.float32)).save(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (60, 40)).save(turned, exif=exif)
    square = tmp_path / 'square.png'
    Image.new('RGB', (40, 40)).save(square, exif=exif)
    images = [ImageFile(str(path), noted=(60, 40)) for path in (deep, grey, turned)]
    images += [ImageFile(str(turned), noted=(40, 60)), ImageFile(str(square), noted=(40, 40))]
    for decode_all in (False, True):
        findings, present = file_findings(images, 'train', decode_all)
        assert {f.check: f.count for f in findings} == {
            '16 bits': 1,
            'four bands': 1,
            'unreadable kinds': 1,
            'turned by EXIF': 1,
        }
        assert [f.check for f in findings if f.fatal] == ['unreadable kinds']
        assert 'floating-point' in findings[2].examples[0]
        assert len(present) == 4


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
