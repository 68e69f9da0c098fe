"""The ops that heads call on GPUs, against definitions written here and numerical derivatives."""

import pytest
import torch
from torch import Tensor

from rs4d.compat import ensure_mmcv_ops

pytestmark = pytest.mark.skipif(
    ensure_mmcv_ops() == 'compiled', reason="mmcv's compiled ops are installed"
)


def focal_loss(logit: float, positive: bool, gamma: float, alpha: float) -> float:
    """Equation 5 of Lin et al., ICCV 2017."""
    p = 1 / (1 + torch.exp(torch.tensor(-logit, dtype=torch.float64)).item())
    p_t, alpha_t = (p, alpha) if positive else (1 - p, 1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * torch.log(torch.tensor(p_t)).item()


def test_focal_loss_is_the_papers() -> None:
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.randn(5, 3, dtype=torch.float64)
    target = torch.tensor([0, 2, 3, 1, 3])  # 3: none of the classes
    got = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    wanted = [
        [focal_loss(logits[i, c].item(), target[i] == c, 2.0, 0.25) for c in range(3)]
        for i in range(5)
    ]
    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.float64))


def test_focal_loss_weights_rows_by_their_class() -> None:
    from mmcv.ops import sigmoid_focal_loss

    logits, target = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    plain = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    weighted = sigmoid_focal_loss(logits, target, 2.0, 0.25, torch.tensor([3.0, 5.0]), 'none')
    torch.testing.assert_close(weighted, plain * torch.tensor([3.0, 5.0, 5.0, 3.0])[:, None])


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_focal_loss_gradient(reduction: str) -> None:
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 3, 2, 1])
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, target, 2.0, 0.25, None, reduction), logits
    )


SHAPES = torch.tensor([[5, 6], [3, 3]])
STARTS = torch.tensor([0, 30])


def attention_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """A batch of 2, 39 keys, 2 heads of 2 channels, 4 queries, 2 levels, 3 points."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 39, 2, 2, dtype=torch.float64, generator=generator)
    # Some of the points lie outside.
    places = torch.rand(2, 4, 2, 2, 3, 2, dtype=torch.float64, generator=generator) * 1.2 - 0.1
    weights = torch.rand(2, 4, 2, 2, 3, dtype=torch.float64, generator=generator)
    return value, places, weights


def bilinear(level: Tensor, x: float, y: float) -> Tensor:
    """Sample (H, W, C) at x, y in pixels from the corner; pixels are areas, outside is zero."""
    height, width, channels = level.shape
    x, y = x - 0.5, y - 0.5
    total = torch.zeros(channels, dtype=level.dtype)
    for row in range(height):
        for column in range(width):
            share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            total += share * level[row, column]
    return total


def test_deformable_attention_is_a_weighted_sum_of_samples() -> None:
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    value, places, weights = attention_inputs()
    got = MultiScaleDeformableAttnFunction.apply(value, SHAPES, STARTS, places, weights, 64)
    wanted = torch.zeros(2, 4, 2, 2, dtype=torch.float64)
    for b, q, h, level, p in torch.cartesian_prod(*map(torch.arange, weights.shape)).tolist():
        height, width = SHAPES[level].tolist()
        start = int(STARTS[level])
        keys = value[b, start : start + height * width, h].reshape(height, width, -1)
        x, y = places[b, q, h, level, p].tolist()
        wanted[b, q, h] += weights[b, q, h, level, p] * bilinear(keys, x * width, y * height)
    torch.testing.assert_close(got, wanted.flatten(2))


def test_deformable_attention_gradient() -> None:
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    inputs = [x.requires_grad_() for x in attention_inputs()]
    assert torch.autograd.gradcheck(
        lambda v, p, w: MultiScaleDeformableAttnFunction.apply(v, SHAPES, STARTS, p, w, 64), inputs
    )
