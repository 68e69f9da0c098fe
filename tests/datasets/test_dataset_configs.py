from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.runner import Runner

from rs4d.datasets.scenes import write_scenes

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py'))
MIXED = 'mixed_distill_small'


def test_all_sets_have_a_config():
    assert set(NAMES) >= {
        'nwpu_instance',
        'sa1b_distill',
        'scenes_instance',
        'ssdd_instance',
        'whu_instance',
    }


@pytest.mark.parametrize('name', [name for name in NAMES if name != MIXED])
def test_data_root_follows_the_environment(name, monkeypatch):
    monkeypatch.setenv('RS4D_DATA_ROOT', 'some/where')
    cfg = Config.fromfile(str(CONFIGS / f'{name}.py'))
    root = 'work_dirs/demo/scenes/' if 'scenes' in name else f'some/where/{folder(name)}/'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.data_root == root
        assert loader.dataset.type in DATASETS
    if 'val_evaluator' in cfg:
        assert cfg.val_evaluator.ann_file == root + cfg.val_dataloader.dataset.ann_file
        assert cfg.val_evaluator.metric == ['bbox', 'segm']


def test_mixed_images_follow_the_environment(monkeypatch):
    monkeypatch.setenv('RS4D_DATA_ROOT', 'some/where')
    cfg = Config.fromfile(str(CONFIGS / f'{MIXED}.py'))
    roots = [dataset.data_root for dataset in cfg.train_dataloader.dataset.datasets]
    assert roots == [f'some/where/{name}/' for name in ('SA1B', 'SSDD', 'NWPU')]


def folder(name):
    return {'sa1b_distill': 'SA1B'}.get(name, name.split('_')[0].upper())


def first_batches(cfg):
    for key in ('train_dataloader', 'val_dataloader'):
        loader = cfg[key]
        loader.num_workers, loader.persistent_workers = 0, False
        yield next(iter(Runner.build_dataloader(loader, seed=0)))


@pytest.mark.parametrize('name', ['ssdd_instance', 'nwpu_instance', 'sa1b_distill'])
def test_batches_of_real_data_have_the_fixed_size(name, data_root, monkeypatch):
    monkeypatch.setenv('RS4D_DATA_ROOT', str(data_root(folder(name)).parent))
    cfg = Config.fromfile(str(CONFIGS / f'{name}.py'))
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
    write_scenes(tmp_path, num_train=4, num_val=1)
    cfg = Config.fromfile(str(CONFIGS / 'scenes_instance.py'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(tmp_path)
    side = cfg.image_size
    for batch in first_batches(cfg):
        assert {tuple(image.shape) for image in batch['inputs']} == {(3, side, side)}
        assert all(len(sample.gt_instances) > 0 for sample in batch['data_samples'])
