"""What nothing reads is an error that names the nearest setting, argument or option."""

from pathlib import Path

import pytest

from rs4d.config import load_config
from rs4d.errors import ConfigError

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'tests' / 'tools' / 'tiny_config.py'


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ({'optim_wraper.optimizer.lr': 1}, "'optim_wraper'.*Did you mean 'optim_wrapper'"),
        ({'train_dataloder.batch_size': 2}, "Did you mean 'train_dataloader'"),
        ({'train_dataloader.batchsize': 2}, "train_dataloader has no 'batchsize'.*'batch_size'"),
        ({'model.backbone.frozen_stage': 1}, "model.backbone has no 'frozen_stage'"),
        ({'model.backbone.patchsize': 8}, "Did you mean 'patch_size'"),
        ({'train_cfg.max_epoch': 1}, "Did you mean 'max_epochs'"),
        ({'default_hooks.checkpoint.intervall': 1}, "Did you mean 'interval'"),
        ({'param_scheduler.9.end': 3}, 'param_scheduler has 2 items'),
        ({'model.neck.2.x': 1}, 'model.neck has 2 items'),
        ({'env_cfg.cudnn_bench': True}, "Did you mean 'cudnn_benchmark'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_misspelt_options(option: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(TINY, option)


def test_all_misspelt_options_are_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r'optim_wrapper.*train_dataloader'):
        load_config(TINY, {'optim_wraper.optimizer.lr': 1, 'train_dataloder.batch_size': 2})


def test_options_that_something_reads() -> None:
    options = {
        'model.backbone.with_cp': True,
        'optim_wrapper.accumulative_counts': 2,
        'compile.backend': 'eager',
        'auto_scale_lr.base_batch_size': 4,
        'train_dataloader.prefetch_factor': 2,
        'randomness.seed': 3,
        'custom_hooks': [],
        'sync_bn': 'torch',
        'model_wrapper_cfg.type': 'MMDistributedDataParallel',
        'activation_checkpointing': ['backbone'],
    }
    cfg = load_config(TINY, options)
    assert cfg.model.backbone.with_cp
    assert cfg.randomness.seed == 3


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        (
            'model = dict(backbone=dict(frozen_stage=1))',
            r'model.backbone gives RSMamba .*frozen_st',
        ),
        ('train_dataloder = dict(batch_size=2)', "Did you mean 'train_dataloader'"),
        (
            "custom_hooks = [dict(type='EarlyStoppingHook', monitor='loss', patiance=1)]",
            'custom_hooks.0 gives EarlyStoppingHook',
        ),
        ('max_epoch = 3', "'max_epoch'.*Did you mean 'max_epochs'"),
        ('image_sizes = 128', "Did you mean 'image_size'"),
        ('num_class = 3', "Did you mean 'num_classes'"),
        ('train_batchsize = 1', "Did you mean 'train_batch_size'"),
        ('val_intervall = 1', "Did you mean 'val_interval'"),
        ("meta_info = dict(classes=('ship',))", "Did you mean 'metainfo'"),
        (
            'model = dict(train_cfg=dict(rcnn=dict(sampler=dict(nums=3))))',
            "rcnn.sampler has 'nums'.*'num'",
        ),
        ('optim_wrapper = dict(clip_grad=dict(max_nrm=1.0))', "Did you mean 'max_norm'"),
        ('auto_scale_lr = dict(base_batchsize=2)', "Did you mean 'base_batch_size'"),
        ('optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mul=0.0))', "'norm_decay_mult'"),
        ('env_cfg = dict(cudnn_bench=True)', "Did you mean 'cudnn_benchmark'"),
        ('randomness = dict(sed=1)', "randomness has 'sed'.*Did you mean 'seed'"),
        ('train_dataloader = dict(batchsize=2)', "Did you mean 'batch_size'"),
        ('val_dataloader = dict(something=2)', "val_dataloader has 'something'"),
        ('default_hooks = dict(chekpoint=dict(interval=2))', "Did you mean 'checkpoint'"),
    ],
)
def test_misspelt_keys_of_a_config(tmp_path: Path, line: str, said: str) -> None:
    config = tmp_path / 'own.py'
    config.write_text(f'_base_ = {str(TINY)!r}\n{line}\n')
    with pytest.raises(ConfigError, match=said):
        load_config(config)


def test_a_base_may_set_what_only_another_base_reads(tmp_path: Path) -> None:
    """The batch that the learning rate is meant for is read by the schedules alone."""
    config = tmp_path / 'own.py'
    bases = [f'rs4d::_base_/datasets/{name}.py' for name in ('coco_256', 'ssdd')]
    config.write_text(f'_base_ = {bases!r}\n')
    assert load_config(config).lr_batch_size == 4


def test_variables_of_a_config_may_be_named_freely(tmp_path: Path) -> None:
    config = tmp_path / 'own.py'
    config.write_text(
        f'_base_ = {str(TINY)!r}\nmodels = 3\ntrain_cfgs = dict(max_epochs=2)\n'
        'train_cfg = train_cfgs\ntrain_dataloader = dict(batch_size=models)\n'
        "place = 'Bergen'\noptim_wrapper = dict(paramwise_cfg=dict(custom_keys={\n"
        "    'layers.1.norm': dict(lr_mult=1), 'layers.1.norms': dict(lr_mult=1)}))\n"
    )
    assert load_config(config).train_dataloader.batch_size == 3


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('[!_]*/*bbox_ssdd.py')), ids=str)
def test_shipped_configs_pass_and_what_they_dump(path: Path, tmp_path: Path) -> None:
    load_config(path).dump(tmp_path / 'dumped.py')
    load_config(tmp_path / 'dumped.py')


@pytest.mark.parametrize(
    'name', ['queryinst/queryinst_r50_fpn_1x_coco.py', 'solov2/solov2_r50_fpn_1x_coco.py',
             'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py']
)  # fmt: skip
def test_configs_of_mmdetection_pass(name: str) -> None:
    load_config(f'mmdet::{name}')
