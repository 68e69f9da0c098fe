"""Two of mmcv's compiled ops in PyTorch, which MMDetection's heads call on GPUs.

On CPUs mmcv and MMDetection have code of their own for them; on a GPU, Mask2Former would stop at its
deformable attention and SOLOv2 and CondInst at their focal loss. These take more memory than the
compiled ones and give the same numbers. Forward and backward come apart, as in the extension, so the
backward runs the forward again under autograd.
"""

import importlib

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C) with the focal loss of every class.

    Args:
        input: Logits (N, C).
        target: Class of each row, C for none of them, (N,).
        weight: A factor for each class (C,), or empty for none.
        output: The result, written in place.
        gamma: Exponent that makes easy examples count less.
        alpha: Weight of the positive ones; negative ones have 1 - alpha.
    """
    output.copy_(_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of every entry of the forward's output.

    Args:
        input: As in the forward.
        target: As in the forward.
        weight: As in the forward.
        grad_input: The result, written in place.
        gamma: As in the forward.
        alpha: As in the forward.
    """
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        loss = _focal_loss(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    classes = logits.shape[1]
    one_hot = F.one_hot(target, classes + 1)[:, :classes].to(logits.dtype)
    loss = torchvision.ops.sigmoid_focal_loss(logits, one_hot, alpha, gamma)
    if len(weight):
        # A row is weighted by its class; one without a class has none.
        loss = loss * F.pad(weight, (0, 1), value=1.0)[target, None]
    return loss


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al., ICLR 2021), by ``grid_sample``.

    Args:
        value: (B, keys of all levels, heads, channels of a head).
        spatial_shapes: Height and width of each level, (levels, 2).
        level_start_index: Where each level begins in the keys; follows from the shapes.
        sampling_locations: x and y as fractions of a level's sides, (B, queries, heads, levels,
            points, 2).
        attention_weights: (B, queries, heads, levels, points).
        im2col_step: How the compiled op splits a batch; of no meaning here.

    Returns:
        (B, queries, heads * channels).
    """
    # mmcv's own reference; mmcv.ops needs the stand-in to be imported, so it comes at the call.
    module = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    return module.multi_scale_deformable_attn_pytorch(
        value, spatial_shapes, sampling_locations, attention_weights
    )


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    *,
    im2col_step: int,
) -> None:
    """Fill the gradients of `ms_deform_attn_forward` in place.

    Args:
        value: As in the forward.
        spatial_shapes: As in the forward.
        level_start_index: As in the forward.
        sampling_locations: As in the forward.
        attention_weights: As in the forward.
        grad_output: Gradient of the forward's result.
        grad_value: Result, shaped as ``value``.
        grad_sampling_loc: Result, shaped as ``sampling_locations``.
        grad_attn_weight: Result, shaped as ``attention_weights``.
        im2col_step: As in the forward.
    """
    with torch.enable_grad():
        inputs = [
            x.detach().requires_grad_() for x in (value, sampling_locations, attention_weights)
        ]
        output = ms_deform_attn_forward(
            inputs[0],
            spatial_shapes,
            level_start_index,
            inputs[1],
            inputs[2],
            im2col_step=im2col_step,
        )
    results = (grad_value, grad_sampling_loc, grad_attn_weight)
    for result, grad in zip(results, torch.autograd.grad(output, inputs, grad_output), strict=True):
        result.copy_(grad)
