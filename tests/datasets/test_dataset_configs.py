from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.runner import Runner

from rs4d.config import load_config
from rs4d.datasets.scenes import ensure_scenes

CONFIGS = Path(__file__).parents[2] / 'configs'
# A config of each data set.
NAMES = dict(
    ssdd='rs4d/rs4d-base_bbox_ssdd',
    nwpu='rs4d/rs4d-base_bbox_nwpu',
    whu='rs4d/rs4d-base_bbox_whu',
    hrsid='rs4d/rs4d-base_light_hrsid',
    scenes='demo/rs4d-tiny_bbox_scenes',
    sa1b='distill/rs4d-base_sam-vit-b_sa1b',
    images='distill/rs4d-tiny_efficientnet-lite0_images',
)


def read(name, **options):
    return load_config(CONFIGS / f'{NAMES[name]}.py', options)


@pytest.mark.parametrize('name', NAMES)
def test_data_root_follows_the_environment(name, monkeypatch):
    monkeypatch.setenv('RS4D_DATA_ROOT', 'some/where')
    cfg = read(name)
    folder = 'images' if name == 'images' else name.upper()
    root = 'work_dirs/demo/scenes/' if name == 'scenes' else f'some/where/{folder}/'
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == root
        assert loader.dataset.type in DATASETS
    if 'ann_file' in cfg.val_evaluator:
        assert cfg.val_evaluator.ann_file == root + cfg.val_dataloader.dataset.ann_file
        assert cfg.val_evaluator.metric == ['bbox', 'segm']


def test_mixed_images_follow_the_environment(monkeypatch):
    monkeypatch.setenv('RS4D_DATA_ROOT', 'some/where')
    cfg = load_config(CONFIGS / 'distill/rs4d-tiny_efficientnet-lite0_mixed.py')
    roots = [dataset.data_root for dataset in cfg.train_dataloader.dataset.datasets]
    assert roots == [f'some/where/{name}/' for name in ('SA1B', 'SSDD', 'NWPU')]


@pytest.mark.parametrize('name', NAMES)
def test_the_learning_rate_is_meant_for_the_batch_of_the_data_set(name):
    cfg = read(name)
    assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size
    # Another batch is what --auto-scale-lr is for.
    larger = read(name, train_batch_size=32)
    assert larger.train_dataloader.batch_size == 32
    assert larger.auto_scale_lr == cfg.auto_scale_lr


def first_batches(cfg):
    for key in ('train_dataloader', 'val_dataloader'):
        loader = cfg[key]
        loader.num_workers, loader.persistent_workers = 0, False
        yield next(iter(Runner.build_dataloader(loader, seed=0)))


@pytest.mark.parametrize('name', ['ssdd', 'nwpu', 'sa1b'])
def test_batches_of_real_data_have_the_fixed_size(name, data_root, monkeypatch):
    monkeypatch.setenv('RS4D_DATA_ROOT', str(data_root(name.upper()).parent))
    cfg = read(name)
    train, val = first_batches(cfg)
    assert len(train['inputs']) == cfg.train_batch_size
    assert len(val['inputs']) == 1
    for batch in (train, val):
        assert {tuple(image.shape) for image in batch['inputs']} == {(3, 1024, 1024)}
        for sample in batch['data_samples']:
            assert max(sample.img_shape) <= 1024
    if 'sa1b' not in name:
        # A crop may miss all objects of one image, not those of the whole batch.
        assert any(len(sample.gt_instances) for sample in train['data_samples'])
        for sample in train['data_samples']:
            instances = sample.gt_instances
            # Boxes lie in the image's own area, masks cover the padded one.
            assert (instances.bboxes.tensor[:, 2] <= sample.img_shape[1]).all()
            assert instances.masks.masks.shape[1:] == (1024, 1024)
            assert instances.masks.masks.any((1, 2)).all()


def test_batches_of_generated_scenes(tmp_path):
    ensure_scenes(tmp_path, num_train=4, num_val=1)
    cfg = read('scenes')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(tmp_path)
    width, height = cfg.image_size
    for batch in first_batches(cfg):
        assert {tuple(image.shape) for image in batch['inputs']} == {(3, height, width)}
        assert all(len(sample.gt_instances) > 0 for sample in batch['data_samples'])
