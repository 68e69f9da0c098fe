"""Rasters through the transforms that the configs use, for any number of bands and any type."""

import copy
import warnings

import numpy as np
import pytest
import rasterio
import torch
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS
from mmengine.config import Config

from rs4d.config import load_config
from rs4d.datasets import AnnotationError, ImageDecodeError, LoadRaster, RemoteSensingCocoDataset
from rs4d.datasets.transforms import raster_loader
from rs4d.geo.window import Window

BANDS = (1, 4, 13)
TYPES = ('uint8', 'uint16', 'float32')


def _written(path, values, **profile):
    count, height, width = values.shape
    settings = dict(driver='GTiff', count=count, height=height, width=width, dtype=values.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, 'w', **settings | profile) as file:
            file.write(values)
    return str(path)


def _values(bands, dtype='uint16', height=40, width=60):
    values = np.random.default_rng(0).integers(1, 250, (bands, height, width))
    return values.astype(dtype)


@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('dtype', TYPES)
def test_values_are_stretched_and_not_rounded(tmp_path, bands, dtype):
    values = _values(bands, dtype)
    chosen = tuple(range(bands, 0, -1))
    load = LoadRaster(bands=chosen, stretch=dict(type='linear', low=10, high=200))
    found = load(dict(img_path=_written(tmp_path / 'a.tif', values)))
    assert found['img'].dtype == np.float32
    expected = ((values[::-1].astype(float) - 10) / 190 * 255).clip(0, 255)
    np.testing.assert_allclose(found['img'], expected.transpose(1, 2, 0), atol=1e-4)
    assert found['img_shape'] == found['ori_shape'] == (40, 60)
    assert 'gt_seg_map' not in found


def test_an_8_bit_copy_of_a_real_raster_shows_the_same(data_root, tmp_path):
    path = str(data_root('GEO') / 'atlanta_pan.tif')
    deep = LoadRaster(stretch=dict(type='linear', low=104, high=1344))(dict(img_path=path))['img']
    copied = np.rint(deep).astype(np.uint8).transpose(2, 0, 1)
    found = LoadRaster()(dict(img_path=_written(tmp_path / 'a.tif', copied)))['img']
    assert np.abs(found - deep).max() <= 0.5
    # The copy is no longer of as many shades.
    assert len(np.unique(deep)) > 4 * len(np.unique(found))


def test_no_data_is_filled_and_marked(tmp_path):
    values = _values(2)
    values[:, :, :20] = 0
    path = _written(tmp_path / 'a.tif', values, nodata=0)
    instances = [dict(bbox=box, ignore_flag=0) for box in ([1, 1, 20, 9], [1, 1, 20.5, 9])]
    found = LoadRaster(fill=(7, 8))(dict(img_path=path, instances=instances))
    assert (found['img'][:, :20] == (7, 8)).all()
    assert np.array_equal(found['img'][:, 20:, 0], values[0, :, 20:])
    assert np.array_equal(found['gt_seg_map'] == 255, values[0] == 0)
    assert [instance['ignore_flag'] for instance in found['instances']] == [1, 0]


def test_what_is_out_of_the_valid_range_is_no_data(tmp_path):
    values = _values(2)
    values[:, 3], values[0, 4] = 0, 0
    load = LoadRaster(valid_range=(1, 300), fill=5)
    found = load(dict(img_path=_written(tmp_path / 'a.tif', values)))
    assert np.flatnonzero(found['gt_seg_map'].any(1)).tolist() == [3]


def test_a_window_and_a_member_of_a_tar(tmp_path):
    values = _values(1)
    path = _written(tmp_path / 'a.tif', values)
    part = LoadRaster()(dict(img_path=path, window=Window(-2, 50, 10, 20)))
    assert part['img'].shape == (10, 20, 1)
    assert np.array_equal(part['img'][2:, :10, 0], values[0, :8, 50:])
    assert (part['gt_seg_map'][:2] == 255).all()
    data = (tmp_path / 'a.tif').read_bytes()
    (tmp_path / 'a.tar').write_bytes(b'x' * 512 + data + b'x' * 512)
    shard = dict(path=str(tmp_path / 'a.tar'), offset=512, size=len(data))
    found = LoadRaster()(dict(img_path='a.tar/a.tif', shard=shard))
    assert np.array_equal(found['img'][..., 0], values[0])


def test_percentiles_are_of_the_whole_raster_also_for_a_window(tmp_path):
    path = _written(tmp_path / 'a.tif', _values(2))
    load = LoadRaster(stretch=dict(type='percentile'))
    whole = load(dict(img_path=path))['img']
    part = load(dict(img_path=path, window=Window(5, 6, 20, 20)))['img']
    assert np.array_equal(part, whole[5:25, 6:26])


def test_faults_are_named(tmp_path):
    path = _written(tmp_path / 'a.tif', _values(2))
    with pytest.raises(AnnotationError, match=r'a\.tif.*60x40.*40x60'):
        LoadRaster()(dict(img_path=path, width=40, height=60))
    with pytest.raises(ImageDecodeError, match=r'a\.tif.*has 2 bands'):
        LoadRaster(bands=(3,))(dict(img_path=path))
    with pytest.raises(ImageDecodeError, match=r'gone\.tif.*not there'):
        LoadRaster()(dict(img_path=str(tmp_path / 'gone.tif')))


def test_a_picture_shows_three_bands_or_one_as_grey(tmp_path):
    values = _values(4, 'uint8')
    path = _written(tmp_path / 'a.tif', values, photometric='MINISBLACK')
    assert np.array_equal(LoadRaster().picture(path), values[:3].transpose(1, 2, 0))
    grey = LoadRaster(bands=(2,)).picture(path)
    assert np.array_equal(grey, values[1][..., None].repeat(3, 2))


def _pipelines():
    """Those of the configs for training, test, and stage 1."""
    cfg = load_config('configs/rs4d/rs4d-tiny_light_ssdd.py')
    distill = load_config('configs/distill/rs4d-tiny_efficientnet-lite0_images.py')
    return dict(
        train=cfg.train_dataloader.dataset.pipeline,
        test=cfg.test_dataloader.dataset.pipeline,
        distill=distill.train_dataloader.dataset.pipeline,
    )


PIPELINES = _pipelines()


@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('dtype', TYPES)
@pytest.mark.parametrize('name', ['train', 'test', 'distill'])
def test_pipelines_take_any_number_of_bands(tmp_path, bands, dtype, name):
    values = _values(bands, dtype)
    values[:, :, 40:] = 0
    path = _written(tmp_path / 'a.tif', values, nodata=0)
    mean = [float(100 + band) for band in range(bands)]
    steps = [copy.deepcopy(dict(step)) for step in PIPELINES[name]]
    assert steps[0]['type'] == 'LoadImage'
    steps[0] = dict(type='LoadRaster', fill=mean, bands=tuple(range(1, bands + 1)))
    for step in steps:
        if step['type'] == 'PadKeepingShape':
            step.update(size=(352, 320), pad_val=dict(img=mean, masks=0))
        if step['type'] == 'RandomFlip':
            step.update(prob=1.0, direction='horizontal')
    pipeline = Compose([TRANSFORMS.build(Config(dict(step=step)).step) for step in steps])
    square = dict(bbox=[10, 10, 30, 30], bbox_label=0, ignore_flag=0)
    square['mask'] = [[10, 10, 30, 10, 30, 30, 10, 30]]
    np.random.seed(0)
    packed = pipeline(dict(img_path=path, img_id=0, width=60, height=40, instances=[square]))
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.shape == (bands, 320, 352)
    assert inputs.dtype == torch.float32
    height, width = sample.img_shape
    outside = inputs[:, height:, :]
    assert outside.numel()
    assert torch.equal(outside, torch.tensor(mean)[:, None, None].expand_as(outside))
    marks = sample.gt_sem_seg.sem_seg[0]
    assert (marks[height:] == 255).all()
    there = marks[:height, :width] == 0
    # A pixel from where the image ends, so that nothing is mixed.
    assert 0.4 < there.float().mean() < 1
    assert (inputs[:, :height, :width][:, there].mean(1) - 125).abs().max() < 12
    if name == 'test':
        ratio = width / 60
        assert abs(there.float().mean() - 40 / 60) < 0.01
        solid = inputs[:, 5:-5, int(41 * ratio) + 1 : width]
        assert torch.equal(solid, torch.tensor(mean)[:, None, None].expand_as(solid))


def test_flips_and_crops_move_marks_and_pixels_alike(tmp_path):
    values = _values(13)
    values[:, 10:20, 5:50] = 0
    path = _written(tmp_path / 'a.tif', values, nodata=0)
    steps = [
        dict(type='LoadRaster', fill=300),
        dict(type='RandomFlip', prob=1.0, direction='diagonal'),
        dict(type='RandomCrop', crop_size=(30, 30), crop_type='absolute'),
        dict(type='PadKeepingShape', size=(32, 32), pad_val=dict(img=300, masks=0)),
    ]
    with_marks = Compose([TRANSFORMS.build(Config(dict(step=step)).step) for step in steps])(
        dict(img_path=path)
    )
    assert with_marks['img'].shape == (32, 32, 13)
    assert np.array_equal(with_marks['gt_seg_map'] == 255, (with_marks['img'] == 300).all(-1))


def test_a_data_set_of_rasters(tiny_coco, tmp_path):
    folder = tiny_coco()
    for number in range(3):
        _written(folder / f'imgs/{number}.tif', _values(5, 'float32'))
    text = (folder / 'annotations/train.json').read_text().replace('.png', '.tif')
    (folder / 'annotations/train.json').write_text(text)
    dataset = RemoteSensingCocoDataset(
        data_root=str(folder),
        ann_file='annotations/train.json',
        data_prefix=dict(img='imgs/'),
        metainfo=dict(classes=('ship',)),
        pipeline=[dict(type='LoadRaster'), dict(type='PackDetInputs')],
    )
    assert dataset[0]['inputs'].shape == (5, 40, 60)
    assert raster_loader(dataset).bands is None
    (folder / 'imgs/1.tif').write_bytes(b'no raster')
    with pytest.raises(ImageDecodeError, match=r'1\.tif.*no raster'):
        dataset[1]
