"""The counter agrees with hand arithmetic, with published figures and with itself."""

from pathlib import Path

import pytest
import timm
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from torch import nn

from rs4d.analysis.complexity import build_for_counting, count_complexity
from rs4d.config import load_config
from rs4d.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'

SMALL = dict(embed_dims=32, num_layers=3, inner_dims=48, d_state=8, d_conv=4, dt_rank=5)


def mamba_by_hand(
    tokens: int, *, embed_dims, num_layers, inner_dims, d_state, d_conv, dt_rank
) -> float:
    """Multiply-adds of RSMamba with patch 16 on ``tokens`` tokens, from its equations."""
    patches = 3 * 16 * 16 * embed_dims
    once = embed_dims * 2 * inner_dims + inner_dims * embed_dims
    per_direction = (
        inner_dims * d_conv
        + inner_dims * (dt_rank + 2 * d_state)
        + dt_rank * inner_dims
        + 4.5 * inner_dims * d_state
        + inner_dims
    )
    return tokens * (patches + num_layers * (once + 2 * per_direction))


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_rsmamba_by_hand(device: str) -> None:
    with torch.device(device):
        model = MODELS.build(dict(type='RSMamba', arch=SMALL, img_size=64))
    cost = count_complexity(model, (64, 96))
    # The depthwise convolution is causal by padding, and padding is counted with its outputs.
    assert cost.multiply_adds == pytest.approx(mamba_by_hand(4 * 6, **SMALL), rel=1e-3)
    assert cost.flops == 2 * cost.multiply_adds
    assert cost.parameters == sum(p.numel() for p in model.parameters())


def test_base_against_sam_vit_b() -> None:
    with torch.device('meta'):
        student = MODELS.build(dict(type='RSMamba', arch='base'))
        teacher = timm.create_model('samvit_base_patch16', num_classes=0)
    small, large = count_complexity(student), count_complexity(teacher)
    assert small.parameters / 1e6 == pytest.approx(11.8, abs=0.05)
    assert large.parameters / 1e6 == pytest.approx(89.7, abs=0.05)
    # 486 G is what is published for SAM ViT-B's encoder.
    assert large.multiply_adds / 1e9 == pytest.approx(486, abs=0.5)
    assert large.multiply_adds / small.multiply_adds >= 9


def test_cost_of_the_encoder_is_linear_in_the_pixels() -> None:
    with torch.device('meta'):
        model = MODELS.build(dict(type='RSMamba', arch='small'))
    costs = [count_complexity(model, (side, side)).multiply_adds for side in (512, 1024)]
    assert costs[1] / costs[0] == pytest.approx(4, rel=1e-6)


def test_grouped_convolution_and_attention() -> None:
    conv = nn.Conv2d(3, 12, 3, padding=1, groups=3)
    assert count_complexity(conv, (10, 8)).multiply_adds == 10 * 8 * 12 * 9

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_tokens = nn.Conv2d(3, 16, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            tokens = self.to_tokens(image).flatten(2).transpose(1, 2).unsqueeze(1)
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    length = 80
    expected = length * 3 * 16 + 2 * length * length * 16
    assert count_complexity(Attention(), (10, 8)).multiply_adds == expected


def test_building_needs_no_checkpoint(tiny_detector) -> None:
    cfg = dict(tiny_detector)
    cfg['backbone'] = dict(
        cfg['backbone'], init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth')
    )
    assert next(build_for_counting(cfg).parameters()).device.type == 'meta'


def test_whole_detector_costs_more_than_its_backbone(tiny_detector) -> None:
    model = build_for_counting(tiny_detector, 'model')
    whole = count_complexity(model, (64, 64), 'model')
    part = count_complexity(model, (64, 64), 'backbone')
    assert whole.multiply_adds > part.multiply_adds > 0
    assert whole.parameters > part.parameters
    assert sum(whole.by_operator.values()) == pytest.approx(whole.multiply_adds, abs=10)


# Mask R-CNN's mask branch for one box: four convolutions and a transposed one on 14x14, classes on
# 28x28; and three layers of eight channels, made for each instance, at stride 8 of 128x128 pixels.
ROI_MASK = 196 * 256 * 256 * (4 * 9 + 4) + 784 * 256
DYNAMIC_MASK = 16 * 16 * (10 * 8 + 8 * 8 + 8)
COST_OF_AN_INSTANCE = {
    'bbox': ROI_MASK,
    'cascade': 3 * ROI_MASK,
    'condinst': DYNAMIC_MASK,
    'rtmdet-ins': DYNAMIC_MASK,
    'mask2former': 0,  # all queries have their masks
    'solov2': 0,  # said to be left out
    'prompt': None,
    'query': None,
}


@pytest.mark.parametrize('head', COST_OF_AN_INSTANCE)
def test_any_detector_is_counted_with_as_many_instances_as_its_config_allows(head: str) -> None:
    cfg = load_config(CONFIGS / f'rs4d/rs4d-base_{head}_ssdd.py').model
    small = dict(embed_dims=256, num_layers=2, inner_dims=64)
    cfg.backbone.update(arch=small, img_size=128, out_indices=(0, 1))
    cfg.neck[0].num_inputs = 2
    model = build_for_counting(cfg, 'model')
    costs = []
    # Each once, as parts share them; not the RPN's.
    every = {id(cfg): cfg for m in model.modules() if (cfg := getattr(m, 'test_cfg', None))}
    bounds = [cfg for cfg in every.values() if cfg.get('max_per_img', 1000) != 1000]
    for fewer in (0, 10):
        for settings in bounds:
            settings['max_per_img'] -= fewer
        before = {name: str(getattr(m, 'test_cfg', 0)) for name, m in model.named_modules()}
        costs.append(count_complexity(model, (128, 128), 'model'))
        assert before == {name: str(getattr(m, 'test_cfg', 0)) for name, m in model.named_modules()}
    part = count_complexity(model, (128, 128), 'backbone')
    assert costs[1].multiply_adds > 1.2 * part.multiply_adds
    one = (costs[0].multiply_adds - costs[1].multiply_adds) / 10
    expected = COST_OF_AN_INSTANCE[head]
    assert one == expected if expected is not None else one > 0


def test_types_are_looked_up_as_configs_do(tiny_detector) -> None:
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert build_for_counting(tiny_detector, 'model').with_roi_head


def test_model_on_the_meta_device_is_refused(tiny_detector) -> None:
    with torch.device('meta'):
        model = MODELS.build(tiny_detector)
    with pytest.raises(ConfigError, match='build_for_counting'):
        count_complexity(model, (64, 64), 'model')


def test_real_weights_and_those_apart_cost_the_same(tiny_detector) -> None:
    models = MODELS.build(tiny_detector), build_for_counting(tiny_detector, 'model')
    assert next(models[1].backbone.parameters()).is_meta
    whole, apart = (count_complexity(model, (64, 64), 'model') for model in models)
    assert whole == apart
    assert 'forward' not in vars(models[1].backbone)
