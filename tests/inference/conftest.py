"""A small detector with random weights, as a checkpoint."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from rs4d.config import load_config

CLASSES = ('house', 'pool')
CONFIG = 'rs4d::rs4d/rs4d-tiny_light_coco.py'
SMALL = {
    'image_size': 64,
    'model.backbone.arch.num_layers': 2,
    'model.backbone.out_indices': 1,
    'metainfo': dict(classes=CLASSES),
}


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    cfg = load_config(CONFIG, SMALL)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    # Random scores are near 0.01 otherwise, and masks empty.
    for name, value in model.named_parameters():
        if 'rtm_cls' in name and name.endswith('bias'):
            value.data[:] = -1.0
    path = tmp_path_factory.mktemp('model') / 'small.pth'
    meta = dict(dataset_meta=dict(classes=CLASSES), cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path
