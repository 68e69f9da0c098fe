"""Small detectors with random weights that find something, and their checkpoints."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from rs4d.config import load_config

CLASSES = ('house', 'pool', 'ship')
SMALL = {
    'image_size': 64,
    'model.backbone.arch.num_layers': 2,
    'metainfo': dict(classes=CLASSES),
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    'light': ('rs4d::rs4d/rs4d-tiny_light_coco.py', {'model.backbone.out_indices': 1}),
    'bbox': (
        'rs4d::rs4d/rs4d-tiny_bbox_ssdd.py',
        {
            'dataset_type': 'CocoInsSegDataset',
            'model.backbone.out_indices': (0, 1),
            'model.neck.0.num_inputs': 2,
            'num_classes': len(CLASSES),
        },
    ),
}


class Stored(NamedTuple):
    """A model, and where it lies."""

    config: str
    options: dict[str, Any]
    checkpoint: Path
    model: Any


def _store(kind: str, folder: Path) -> Stored:
    config, own = CONFIGS[kind]
    options = SMALL | own
    cfg = load_config(config, options, CLASSES)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    # Scores of random weights are all alike, and so are masks.
    for name, value in model.named_parameters():
        if 'rtm_cls' in name or 'fc_cls' in name or 'rpn_cls' in name or 'conv_logits' in name:
            value.data.mul_(30).add_(torch.randn_like(value) * 0.3)
        if 'rtm_cls' in name and name.endswith('bias'):
            value.data[:] = -1.0
    path = folder / f'{kind}.pth'
    meta = dict(dataset_meta=dict(classes=CLASSES), cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return Stored(config, options, path, model.eval())


@pytest.fixture(scope='session', params=list(CONFIGS))
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return _store(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope='session')
def light(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return _store('light', tmp_path_factory.mktemp('light_alone'))


@pytest.fixture(scope='session')
def docs_script() -> dict[str, Any]:
    """Functions of the script in docs/export.md."""
    text = (Path(__file__).parents[2] / 'docs' / 'export.md').read_text()
    code = text.split('```python\n"""Find objects')[1].split('```')[0]
    names: dict[str, Any] = {'__name__': 'docs_script'}
    exec(compile('"""Find objects' + code, 'docs/export.md', 'exec'), names)
    return names
