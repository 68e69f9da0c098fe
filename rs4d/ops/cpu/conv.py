"""Depthwise convolution and SiLU in both directions by the C++ kernels, as a PyTorch operator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..definition import adjacent
from .library import (
    Conv,
    ConvGrads,
    call,
    contiguous,
    empty,
    library,
    num_threads,
    number_type,
    pointer,
    rows,
)


def _problem(
    x: Tensor,
    taps: Tensor,
    bias: Tensor | None,
    both: Sequence[Tensor | None] | Tensor,
    span: tuple[int, int] | None = None,
) -> Conv:
    """Describe the problem; the tensors have to outlive its use. ``taps`` is (K, D)."""
    batch, length, channels = x.shape
    first, last = span or (0, length)
    return Conv(
        batch=batch,
        length=length,
        channels=channels,
        taps=taps.shape[0],
        threads=num_threads(),
        x=rows(x),
        weight=pointer(taps),
        bias=pointer(bias),
        forward=rows(both[0]),
        backward=rows(both[1]),
        first=first,
        last=last,
        type=number_type(x),
    )


def conv_silu_into(
    out: Sequence[Tensor | None] | Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    span: tuple[int, int] | None = None,
) -> None:
    """Convolve into given memory; arguments as `conv_silu`.

    Args:
        out: Where both directions' results go, (B, L, D) each, or None for a direction to leave out.
        x: As for `conv_silu`.
        weight: Likewise.
        bias: Likewise.
        span: The first step that is wanted and the one behind the last, of which the results are. All
            by default.
    """
    x, taps, bias = adjacent(x), weight.t().contiguous(), contiguous(bias)
    call(library().rs4d_conv_forward, _problem(x, taps, bias, out, span))


@torch.library.custom_op('rs4d::conv_silu_cpu', mutates_args=())
def conv_silu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``rs4d.ops.bidirectional_conv_silu`` on the CPU.

    Args:
        x: (B, L, D), float32, bfloat16 or float16.
        weight: (D, K), float32.
        bias: (D,) or None, float32.

    Returns:
        Both directions, (2, B, L, D), in the type of ``x``.
    """
    out = empty(2, *x.shape, dtype=x.dtype)
    conv_silu_into(out, x, weight, bias)
    return out


@torch.library.custom_op('rs4d::conv_silu_cpu_backward', mutates_args=())
def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    grad, x, taps, bias = adjacent(grad), adjacent(x), weight.t().contiguous(), contiguous(bias)
    kernels, problem = library(), _problem(x, taps, bias, grad)
    parts = x.shape[0] * kernels.rs4d_conv_blocks(problem)
    grad_x = empty(*x.shape, dtype=x.dtype)
    grad_taps, grad_bias = empty(parts, *taps.shape), empty(parts, taps.shape[1])
    grads = ConvGrads(rows(grad_x), pointer(grad_taps), pointer(grad_bias))
    call(kernels.rs4d_conv_backward, problem, grads)
    return grad_x, grad_taps.sum(0).t().contiguous(), grad_bias.sum(0)


@conv_silu.register_fake
def _(x, weight, bias):
    return x.new_empty(2, *x.shape)


@_backward.register_fake
def _(grad, x, weight, bias):
    return x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad):
    x, weight, bias = ctx.saved_tensors
    grads = torch.ops.rs4d.conv_silu_cpu_backward(grad, x, weight, bias)
    return *grads[:2], None if bias is None else grads[2]


conv_silu.register_autograd(_differentiate, setup_context=_save)
