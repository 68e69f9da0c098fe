"""Parts of configs that were inherited as ``rs4d::PATH``, which MMEngine marks with that scope."""

from pathlib import Path

import pytest
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import VISUALIZERS

from rs4d.config import load_config


@pytest.mark.parametrize(
    ('registry', 'settings'),
    [
        (MODELS, dict(type='SimpleFPN', in_channels=8, out_channels=8)),
        (MODELS, dict(type='FPN', in_channels=[8], out_channels=8, num_outs=1)),
        (VISUALIZERS, dict(type='LegibleVisualizer', name='of_a_test')),
        (TRANSFORMS, dict(type='LoadImage')),
        (TASK_UTILS, dict(type='DeltaXYWHBBoxCoder')),
    ],
)
def test_parts_are_those_of_mmdetection(registry, settings: dict) -> None:
    assert type(registry.build(dict(settings, _scope_='rs4d'))).__name__ == settings['type']


def test_a_config_that_inherits_builds_its_model(tmp_path: Path) -> None:
    leaf = tmp_path / 'leaf.py'
    bases = [
        'models/mask-rcnn_small',
        'encoders/rsmamba-tiny',
        'datasets/coco_256',
        'datasets/ssdd',
    ]
    bases += ['schedules/finetune_cpu', 'default_runtime']
    leaf.write_text(
        f'_base_ = {[f"rs4d::_base_/{name}.py" for name in bases]}\n'
        'model = dict(backbone=_base_.encoder, neck=_base_.neck)\n'
    )
    cfg = load_config(leaf)
    assert isinstance(cfg, Config)
    model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == 'RSMamba'
    assert model.roi_head.mask_head.num_classes == 1
