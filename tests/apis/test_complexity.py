"""The counter agrees with hand arithmetic, with published figures and with itself."""

import pytest
import timm
import torch
from mmdet.registry import MODELS
from torch import nn

from rs4d.apis import SetupError, count_complexity
from rs4d.apis.complexity import build_for_counting

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


def test_an_engine_in_the_config_neither_matters_nor_is_lost() -> None:
    models = [
        MODELS.build(dict(type='RSMamba', arch=SMALL, img_size=32, scan_engine=engine))
        for engine in ('auto', 'reference')
    ]
    costs = [count_complexity(model, (32, 32)).multiply_adds for model in models]
    assert costs[0] == costs[1]
    assert models[1].layers[0].scan_engine == 'reference'


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


def test_unknown_scope() -> None:
    with pytest.raises(SetupError, match='backbone, model'):
        count_complexity(nn.Conv2d(3, 1, 1), scope='head')
