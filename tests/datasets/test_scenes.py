import hashlib
import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from skimage.measure import label as label_components

from rs4d.datasets import DatasetNotFoundError, ScenesInsSegDataset
from rs4d.datasets.scenes import CLASSES, ensure_scenes, generate_scene
from rs4d.files import ExistingFileError


def digest(scene):
    parts = (scene.image, scene.masks, scene.labels)
    return hashlib.sha256(b''.join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


@pytest.fixture(scope='module')
def scenes():
    return [generate_scene(seed=3, index=i) for i in range(40)]


def test_same_seed_same_bytes(scenes):
    assert digest(generate_scene(seed=3, index=5)) == digest(scenes[5])
    others = [
        generate_scene(seed=4, index=5),
        generate_scene(seed=3, index=6),
        generate_scene(seed=3, index=5, split='val'),
    ]
    assert digest(scenes[5]) not in {digest(o) for o in others}


def test_masks_are_disjoint_pieces_worth_learning(scenes):
    for scene in scenes:
        assert scene.image.shape == (256, 256, 3)
        assert scene.image.dtype == np.uint8
        assert 1 <= len(scene.masks) == len(scene.labels) <= 8
        assert scene.masks.sum(0).max() == 1
        for mask in scene.masks:
            assert mask.sum() >= 100
            assert label_components(mask, connectivity=2).max() == 1
            # At least 8 pixels wide somewhere: twice the greatest distance to the outside.
            padded = np.pad(mask.astype(np.uint8), 1)
            assert 2 * cv2.distanceTransform(padded, cv2.DIST_L2, 5).max() >= 8


def test_both_kinds_occur(scenes):
    kinds = [set(scene.labels.tolist()) for scene in scenes]
    assert {0} in kinds
    assert {1} in kinds
    assert {0, 1} not in kinds


def test_ships_are_brighter_than_the_water_around(scenes):
    kernel = np.ones((9, 9), np.uint8)
    for scene in scenes:
        for mask in scene.masks[scene.labels == CLASSES.index('ship')]:
            ring = cv2.dilate(mask.astype(np.uint8), kernel).astype(bool) & ~scene.masks.any(0)
            assert scene.image[mask].mean() > 1.5 * scene.image[ring].mean()


def test_water_has_multilook_speckle(scenes):
    # A squared amplitude of L looks has the coefficient of variation 1 / sqrt(L); the point
    # spread averages further, swell adds a little: well above a clean picture, below one look.
    for scene in scenes:
        if CLASSES.index('ship') in scene.labels:
            clear = ~cv2.dilate(scene.masks.any(0).astype(np.uint8), np.ones((31, 31))).astype(bool)
            blocks = scene.image[..., 0].astype(float).reshape(32, 8, 32, 8).swapaxes(1, 2)
            inside = clear.reshape(32, 8, 32, 8).swapaxes(1, 2).all((2, 3))
            power = blocks[inside] ** 2
            variation = power.std((1, 2)) / power.mean((1, 2))
            assert 0.15 < np.median(variation) < 1.0


def test_other_sizes():
    scene = generate_scene(seed=0, index=0, size=128)
    assert scene.image.shape == (128, 128, 3)
    assert scene.masks.shape[1:] == (128, 128)


@pytest.mark.parametrize(
    'kwargs', [dict(size=32), dict(split='test'), dict(seed=-1), dict(index=-1)]
)
def test_arguments_out_of_range(kwargs):
    with pytest.raises(ValueError, match='generate_scene'):
        generate_scene(**(dict(seed=0, index=0) | kwargs))


def test_written_annotations_are_what_pycocotools_measures(tmp_path):
    train, val = ensure_scenes(tmp_path, num_train=3, num_val=2, size=96, seed=1)
    for file, split, count in ((train, 'train', 3), (val, 'val', 2)):
        coco = COCO(str(file))
        assert len(coco.imgs) == count
        for image_id, image in coco.imgs.items():
            scene = generate_scene(1, image_id, split, 96)
            stored = cv2.imread(str(tmp_path / 'imgs' / image['file_name']))[..., ::-1]
            assert np.array_equal(stored, scene.image)
            annotations = coco.imgToAnns[image_id]
            masks = np.stack([coco.annToMask(a) for a in annotations])
            assert np.array_equal(masks.astype(bool), scene.masks)
            for annotation, mask in zip(annotations, masks, strict=True):
                x, y, width, height = annotation['bbox']
                assert annotation['area'] == mask.sum()
                assert cv2.boundingRect(mask) == (x, y, width, height)
                assert coco.cats[annotation['category_id']]['name'] in CLASSES


def test_dataset_reads_them_and_says_how_to_make_them(tmp_path):
    settings = dict(
        ann_file='annotations/scenes_val.json',
        data_prefix=dict(img='imgs/'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='PackDetInputs'),
        ],
    )
    root = tmp_path / 'scenes'
    with pytest.raises(DatasetNotFoundError, match=r'generate_scenes\.py'):
        ScenesInsSegDataset(data_root=str(root), **settings)
    ensure_scenes(root, num_train=1, num_val=2, size=96)
    dataset = ScenesInsSegDataset(data_root=str(root), **settings)
    assert len(dataset) == 2
    scene = generate_scene(0, 1, 'val', 96)
    instances = dataset[1]['data_samples'].gt_instances
    assert np.array_equal(instances.masks.masks.astype(bool), scene.masks)
    assert instances.labels.tolist() == scene.labels.tolist()


def test_larger_set_keeps_the_scenes_of_a_smaller_one(tmp_path):
    ensure_scenes(tmp_path / 'a', num_train=2, num_val=1, size=64)
    ensure_scenes(tmp_path / 'b', num_train=4, num_val=2, size=64)
    for name in ('train_000001.png', 'val_000000.png'):
        assert (tmp_path / f'a/imgs/{name}').read_bytes() == (
            tmp_path / f'b/imgs/{name}'
        ).read_bytes()


def test_nothing_is_overwritten_unasked(tmp_path):
    settings = dict(num_train=2, num_val=1, size=64)
    train, _ = ensure_scenes(tmp_path, **settings)
    stamp = train.stat().st_mtime_ns
    ensure_scenes(tmp_path, **settings)
    assert train.stat().st_mtime_ns == stamp
    with pytest.raises(ExistingFileError, match='--overwrite'):
        ensure_scenes(tmp_path, **settings, seed=1)
    assert train.stat().st_mtime_ns == stamp
    ensure_scenes(tmp_path, **settings, seed=1, overwrite=True)
    assert json.loads(train.read_text())['info']['seed'] == 1


def test_foreign_annotations_are_left_alone(tmp_path):
    for split in ('train', 'val'):
        path = tmp_path / f'annotations/scenes_{split}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"info": "mine"')
    with pytest.raises(ExistingFileError):
        ensure_scenes(tmp_path, num_train=1, num_val=1, size=64)
    assert path.read_text() == '{"info": "mine"'
