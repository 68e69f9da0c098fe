import shutil

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage.measure import label as label_components

from rs4d.datasets import (
    AnnotationError,
    DatasetNotFoundError,
    ImageDecodeError,
    WHUInsSegDataset,
)
from rs4d.datasets.converters import convert_whu, label_to_annotations
from rs4d.files import ExistingFileError


@pytest.fixture
def whu(tmp_path):
    """A folder of two tiny splits in WHU's layout."""
    for split, names in (('train', ('10', '2')), ('val', ('val_0',))):
        for kind in ('image', 'label'):
            (tmp_path / split / kind).mkdir(parents=True)
        for name in names:
            label = np.zeros((32, 48), np.uint8)
            label[4:12, 4:20] = 255
            label[20:30, 30:44] = 255
            label[23:26, 34:38] = 0
            cv2.imwrite(str(tmp_path / split / f'label/{name}.tif'), label)
            cv2.imwrite(
                str(tmp_path / split / f'image/{name}.tif'), np.zeros((32, 48, 3), np.uint8)
            )
    return tmp_path


def check(root, split):
    """Hold the written annotations against the label files, by pycocotools and scikit-image."""
    coco = COCO(str(root / f'annotations/WHU_building_{split}.json'))
    assert {i['file_name'] for i in coco.imgs.values()} == {
        p.name for p in (root / split / 'image').iterdir()
    }
    assert 0 not in coco.anns
    for image_id, image in coco.imgs.items():
        label = cv2.imread(str(root / split / 'label' / image['file_name']), -1) > 0
        annotations = coco.imgToAnns[image_id]
        assert len(annotations) == label_components(label, connectivity=2).max()
        drawn = sum((coco.annToMask(a) for a in annotations), np.zeros(label.shape, np.uint8))
        assert np.array_equal(drawn, label)
        for annotation in annotations:
            rle = coco.annToRLE(annotation)
            assert annotation['area'] == coco_mask.area(rle)
            assert annotation['bbox'] == coco_mask.toBbox(rle).tolist()
    return coco


def test_instances_of_tiny_labels(whu):
    files = convert_whu(whu)
    assert [f.name for f in files] == ['WHU_building_train.json', 'WHU_building_val.json']
    coco = check(whu, 'train')
    check(whu, 'val')
    # Natural order of names.
    assert [coco.imgs[i]['file_name'] for i in sorted(coco.imgs)] == ['2.tif', '10.tif']


def test_real_tiles(data_root, tmp_path):
    shutil.copytree(data_root('WHU'), tmp_path / 'WHU')
    convert_whu(tmp_path / 'WHU')
    counts = {}
    for split in ('train', 'val'):
        coco = check(tmp_path / 'WHU', split)
        counts[split] = (len(coco.imgs), len(coco.anns))
        dataset = WHUInsSegDataset(
            data_root=str(tmp_path / 'WHU'),
            ann_file=f'annotations/WHU_building_{split}.json',
            data_prefix=dict(img=f'{split}/image/'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='PackDetInputs'),
            ],
        )
        assert dataset[0]['inputs'].shape == (3, 512, 512)
        assert sum(len(s['data_samples'].gt_instances) for s in dataset) == len(coco.anns)
    # One of the two training tiles shows no building.
    assert counts['train'][0] == counts['val'][0] == 2
    assert (
        len(
            {
                a['image_id']
                for a in COCO(
                    str(tmp_path / 'WHU/annotations/WHU_building_train.json')
                ).anns.values()
            }
        )
        == 1
    )


def test_pixels_that_touch_at_a_corner_are_one_building():
    label = np.zeros((6, 6), bool)
    label[0:2, 0:2] = label[2:4, 2:4] = True
    label[5, 5] = True
    assert [a['area'] for a in label_to_annotations(label)] == [8, 1]


def test_nothing_is_overwritten_unasked(whu):
    (target, _) = convert_whu(whu)
    target.write_text('mine')
    with pytest.raises(ExistingFileError, match=r'WHU_building_train\.json.*--overwrite'):
        convert_whu(whu)
    assert target.read_text() == 'mine'
    convert_whu(whu, overwrite=True)
    check(whu, 'train')


def test_nothing_is_written_when_one_label_is_bad(whu):
    label = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)
    cv2.imwrite(str(whu / 'val/label/val_0.tif'), label)
    with pytest.raises(AnnotationError, match=r'val_0\.tif.*not a mask'):
        convert_whu(whu)
    assert not (whu / 'annotations').exists()


def test_label_of_another_size(whu):
    cv2.imwrite(str(whu / 'train/label/2.tif'), np.zeros((48, 32), np.uint8))
    with pytest.raises(AnnotationError, match=r'2\.tif.*32x48'):
        convert_whu(whu)


def test_missing_and_broken_labels(whu):
    (whu / 'train/label/2.tif').write_bytes(b'II*\0nothing')
    with pytest.raises(ImageDecodeError, match=r'label.*2\.tif'):
        convert_whu(whu)
    (whu / 'train/label/2.tif').unlink()
    with pytest.raises(DatasetNotFoundError, match=r'label.*2\.tif'):
        convert_whu(whu)


def test_folder_that_is_not_whu(tmp_path):
    with pytest.raises(DatasetNotFoundError, match='none of the folders'):
        convert_whu(tmp_path)
    with pytest.raises(DatasetNotFoundError, match='nowhere'):
        convert_whu(tmp_path / 'nowhere')
