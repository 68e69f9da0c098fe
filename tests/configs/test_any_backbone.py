"""Heads under other encoders than RSMamba: two steps and a prediction, nothing untrained."""

import re
from pathlib import Path

import pytest
from mmengine.runner import set_random_seed
from reduced_configs import CONFIGS, reduce_config, reduced_config
from training_steps import assert_trains_and_predicts

from rs4d.config import load_config

PAGE = Path(__file__).parents[2] / 'docs/configs.md'
ENCODERS = {
    'r50': ('baselines/mask-rcnn_r50', 'backbones/r50_prompt'),
    'swin-t': ('backbones/swin-t_bbox', 'backbones/swin-t_prompt'),
    'vit-tiny': ('backbones/vit-tiny_bbox', 'backbones/vit-tiny_prompt'),
    'sam-vit-b': (
        'baselines/mask-rcnn_sam-vit-b',
        'baselines/rsprompter-anchor_sam-vit-b',
        'baselines/rsprompter-query_sam-vit-b',
    ),
}


@pytest.mark.usefixtures('ssdd')
@pytest.mark.parametrize('path', [path for paths in ENCODERS.values() for path in paths])
def test_backbone_trains_and_predicts(path: str) -> None:
    set_random_seed(0)
    assert_trains_and_predicts(reduced_config(CONFIGS / f'{path}_ssdd.py'))


@pytest.mark.usefixtures('ssdd')
def test_the_docs_swap_a_backbone(tmp_path: Path) -> None:
    """The lines of docs/configs.md, in the config that it shows above them."""
    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    (base,) = (block for block in blocks if '_base_ = [' in block)
    (lines,) = (block for block in blocks if 'TimmEncoder' in block)
    path = tmp_path / 'swapped.py'
    path.write_text((base + lines).replace("'../_base_", f"'{CONFIGS.as_posix()}/_base_"))
    cfg = load_config(path)
    assert cfg.model.backbone.model_name == 'resnet18'
    set_random_seed(0)
    assert_trains_and_predicts(reduce_config(cfg))
