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
    """Fill ``output`` with the loss of every class, for logits (N, C) and classes (N,); C is none."""
    output.copy_(_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, *, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of every entry of the forward's output."""
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
    """Multi-scale deformable attention (Zhu et al., ICLR 2021), by ``grid_sample``."""
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
    *results: Tensor,
    im2col_step: int,
) -> None:
    """Fill ``results`` with the gradients of value, locations and weights."""
    shapes = (spatial_shapes, level_start_index)
    with torch.enable_grad():
        inputs = [
            x.detach().requires_grad_() for x in (value, sampling_locations, attention_weights)
        ]
        output = ms_deform_attn_forward(inputs[0], *shapes, *inputs[1:], im2col_step=im2col_step)
    for result, grad in zip(results, torch.autograd.grad(output, inputs, grad_output), strict=True):
        result.copy_(grad)
