"""Depthwise convolution and SiLU in both directions by the C++ kernels, as a PyTorch operator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import cpu_kernels
from .cpu_kernels import Conv, ConvGrads, adjacent, pointer, rows


def _conv(x: Tensor, taps: Tensor, bias: Tensor | None, forward: Tensor, backward: Tensor) -> Conv:
    """Describe the problem; the tensors have to outlive its use. ``taps`` is (K, D)."""
    batch, length, channels = x.shape
    return Conv(
        batch=batch,
        length=length,
        channels=channels,
        taps=taps.shape[0],
        threads=cpu_kernels.num_threads(),
        x=rows(x),
        weight=pointer(taps),
        bias=pointer(bias),
        forward=rows(forward),
        backward=rows(backward),
    )


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device='cpu')


def conv_silu_into(weight: Tensor, bias: Tensor | None, x: Tensor, out: Sequence[Tensor]) -> None:
    """Compute ``rs4d.ops.bidirectional_conv_silu`` of float32 tensors on the CPU into given memory.

    Args:
        weight: (D, K).
        bias: (D,) or None.
        x: (B, L, D).
        out: Where the two directions go, each (B, L, D) with adjacent channels.
    """
    x, taps = adjacent(x), weight.t().contiguous()
    bias = None if bias is None else bias.contiguous()
    if x.numel():
        conv = _conv(x, taps, bias, out[0], out[1])
        cpu_kernels.call(cpu_kernels.library().rs4d_conv_forward, conv)


@torch.library.custom_op('rs4d::bidirectional_conv_silu_cpu', mutates_args=())
def bidirectional_conv_silu_cpu(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute ``rs4d.ops.bidirectional_conv_silu`` for float32 tensors on the CPU.

    Args:
        x: (B, L, D).
        weight: (D, K).
        bias: (D,) or None.

    Returns:
        The two directions, each (B, L, D).
    """
    out = _empty(*x.shape), _empty(*x.shape)
    conv_silu_into(weight, bias, x, out)
    return out


@torch.library.custom_op('rs4d::bidirectional_conv_silu_cpu_backward', mutates_args=())
def _backward(
    grad_forward: Tensor, grad_backward: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    grad_forward, grad_backward, x = (adjacent(t) for t in (grad_forward, grad_backward, x))
    taps, bias = weight.t().contiguous(), None if bias is None else bias.contiguous()
    if not x.numel():
        return torch.zeros_like(x), torch.zeros_like(weight), torch.zeros_like(weight[:, 0])
    conv = _conv(x, taps, bias, grad_forward, grad_backward)
    kernels = cpu_kernels.library()
    parts = x.shape[0] * kernels.rs4d_conv_blocks(conv)
    grad_x = _empty(*x.shape)
    grad_taps, grad_bias = _empty(parts, *taps.shape), _empty(parts, taps.shape[1])
    grads = ConvGrads(rows(grad_x), pointer(grad_taps), pointer(grad_bias))
    cpu_kernels.call(kernels.rs4d_conv_backward, conv, grads)
    return grad_x, grad_taps.sum(0).t().contiguous(), grad_bias.sum(0)


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@bidirectional_conv_silu_cpu.register_fake
def _(x, weight, bias):
    return _like(x), _like(x)


@_backward.register_fake
def _(grad_forward, grad_backward, x, weight, bias):
    return _like(x), _like(weight), weight.new_empty(weight.shape[0])


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad_forward, grad_backward):
    x, weight, bias = ctx.saved_tensors
    grad_x, grad_weight, grad_bias = torch.ops.rs4d.bidirectional_conv_silu_cpu_backward(
        grad_forward, grad_backward, x, weight, bias
    )
    return grad_x, grad_weight, None if bias is None else grad_bias


bidirectional_conv_silu_cpu.register_autograd(_differentiate, setup_context=_save)
