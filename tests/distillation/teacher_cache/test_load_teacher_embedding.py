"""The cached embedding beside its image, and what is refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS

from rs4d.distillation.teacher_cache import (
    CacheHeader,
    TeacherCacheError,
    TeacherCacheWriter,
    describe_images,
)

PIXELS: list[dict[str, Any]] = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), keep_ratio=True),
    dict(type='PadKeepingShape', size=(32, 32)),
]
EMBEDDING = torch.arange(8.0).view(2, 2, 2)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images, of which the cache in the folder beside them has both."""
    root = tmp_path / 'images'
    root.mkdir()
    writer = TeacherCacheWriter(tmp_path / 'cache')
    maps = dict(embedding=[2, 2, 2], block1=[1, 2, 2])
    writer.start(CacheHeader({}, {}, describe_images(PIXELS), '0', 'float32', [32, 32], maps))
    for i in range(2):
        cv2.imwrite(str(root / f'{i}.png'), np.full((48, 64, 3), 50 * i, np.uint8))
        values = dict(embedding=EMBEDDING + i, block1=torch.full((1, 2, 2), float(i)))
        writer.add(f'{i}.png', values, (24, 32))
    writer.flush()
    writer.close()
    return root


def build(images: Path, **kwargs: Any) -> Any:
    cfg = dict(
        type='LoadTeacherEmbedding',
        cache_dir=str(images.parent / 'cache'),
        data_root=str(images),
        transforms=PIXELS,
    )
    return TRANSFORMS.build(cfg | kwargs)


def test_the_embedding_comes_with_its_image(images: Path) -> None:
    load, pack = build(images), TRANSFORMS.build(dict(type='PackDistillInputs'))
    for i in range(2):
        packed = pack(load(dict(img_path=str(images / f'{i}.png'), img_id=i)))
        sample = packed['data_samples']
        assert torch.equal(sample.teacher_embedding, (EMBEDDING + i).half())
        assert 'teacher_block1' not in sample
        assert packed['inputs'].shape == (3, 32, 32)
        assert (sample.img_shape, sample.img_id) == ((24, 32), i)
        moved = sample.to('meta')
        assert moved.teacher_embedding.device.type == 'meta'


def test_chosen_maps(images: Path) -> None:
    results = build(images, maps=('block1',))(dict(img_path=str(images / '1.png')))
    assert results['teacher_maps'].keys() == {'block1'}
    assert (results['teacher_maps']['block1'] == 1).all()
    with pytest.raises(TeacherCacheError, match='embedding, block1 and not block7'):
        build(images, maps=('block7',))


def test_a_data_set_may_name_its_images(images: Path) -> None:
    results = build(images, data_root=())(dict(img_path=str(images / '0.png'), img_key='1.png'))
    assert torch.equal(results['teacher_maps']['embedding'], (EMBEDDING + 1).half())


def test_packing_without_a_cache() -> None:
    pack = TRANSFORMS.build(dict(type='PackDistillInputs'))
    packed = pack(dict(img=np.zeros((4, 4, 3), np.uint8), img_shape=(4, 4), img_key='a'))
    assert packed['data_samples'].img_key == 'a'


def test_an_image_that_is_changed_afterwards(images: Path) -> None:
    results = build(images)(dict(img_path=str(images / '0.png')))
    results = TRANSFORMS.build(dict(type='RandomFlip', prob=1.0))(results)
    with pytest.raises(TeacherCacheError, match='changed the image'):
        TRANSFORMS.build(dict(type='PackDistillInputs'))(results)


def test_another_image_under_the_same_name(images: Path) -> None:
    cv2.imwrite(str(images / '0.png'), np.zeros((64, 48, 3), np.uint8))
    with pytest.raises(TeacherCacheError, match=r'32x24 in 32x32.*24x32 in 32x32'):
        build(images)(dict(img_path=str(images / '0.png')))


@pytest.mark.parametrize(
    ('transforms', 'message'),
    [
        ([*PIXELS, dict(type='RandomFlip', prob=0.5)], 'RandomFlip'),
        ([*PIXELS, dict(type='PhotoMetricDistortion')], 'PhotoMetricDistortion'),
        ([PIXELS[0], dict(PIXELS[1], scale=(64, 64)), PIXELS[2]], r'Different: the pipeline'),
        (PIXELS[:2], r'Different: the pipeline'),
    ],
)
def test_other_transforms(images: Path, transforms: list, message: str) -> None:
    with pytest.raises(TeacherCacheError, match=message):
        build(images, transforms=transforms)


def test_another_storage_is_no_difference(images: Path) -> None:
    build(images, transforms=[dict(PIXELS[0], backend_args=None), *PIXELS[1:]])
