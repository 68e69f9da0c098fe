"""The engines that stand in for the scan while a graph is traced for ONNX.

They run a mixer as PyTorch's products and two operators. Those of the portable engine are translated
into the functions of `onnx_functions`; those of the other one stay in the graph as they are, for ONNX
Runtime with the library of `custom_ops`.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from rs4d.ops import Engine, MixerWeights, bidirectional_conv_silu, bidirectional_selective_scan
from rs4d.ops.chunked import scan as chunked_scan


@torch.library.custom_op('rs4d::onnx_conv_silu', mutates_args=())
def onnx_conv_silu(tokens: Tensor, taps: Tensor, bias: Tensor, channels: int) -> Tensor:
    """Convolve both directions of the first D channels of tokens.

    Args:
        tokens: (B, L, at least D).
        taps: (K, D).
        bias: (D,).
        channels: D, which a graph has to know before it sees the taps.

    Returns:
        (2, B, L, D).
    """
    x = tokens[..., :channels]
    return bidirectional_conv_silu(x, taps.t(), bias, engine='chunked')


@onnx_conv_silu.register_fake
def _(tokens, taps, bias, channels):
    return tokens.new_empty(2, *tokens.shape[:2], channels)


@torch.library.custom_op('rs4d::onnx_scan', mutates_args=())
def onnx_scan(
    u: Tensor,
    projected: Tensor,
    delta_weight: Tensor,
    A: Tensor,
    D: Tensor,
    bias: Tensor,
    tokens: Tensor,
) -> Tensor:
    """Scan both directions, average them and gate.

    Args:
        u: (2, B, L, D).
        projected: Delta's bottleneck, B and C side by side, (2, B, L, R + 2 N).
        delta_weight: (R, D).
        A: (D, N), negative.
        D: (D,).
        bias: Of delta, (D,).
        tokens: (B, L, 2 D), of which the second half is the gate.

    Returns:
        (B, L, D).
    """
    states = A.shape[1]
    dt, B, C = projected.split([delta_weight.shape[0], states, states], dim=-1)
    z = tokens[..., u.shape[-1] :]
    return bidirectional_selective_scan(u, dt @ delta_weight, A, B, C, D, bias, z, engine='chunked')


@onnx_scan.register_fake
def _(u, projected, delta_weight, A, D, bias, tokens):
    return u.new_empty(u.shape[1:])


def _native_conv_silu(tokens: Tensor, taps: Tensor, bias: Tensor, channels: int) -> Tensor:
    shape = (2, *tokens.shape[:2], channels)
    return torch.onnx.ops.symbolic(
        'rs4d::ConvSilu', (tokens, taps, bias), dtype=tokens.dtype, shape=shape, version=1
    )


def _native_scan(u: Tensor, *others: Tensor) -> Tensor:
    return torch.onnx.ops.symbolic(
        'rs4d::BidirectionalScan', (u, *others), dtype=u.dtype, shape=u.shape[1:], version=1
    )


def _mix_blocks(
    convolve: Callable[..., Tensor],
    scan: Callable[..., Tensor],
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    norm_eps: float,
    weights: list[Tensor],
    wanted: list[int],
) -> list[Tensor]:
    """Do what `rs4d.ops.cpu.blocks.mix_blocks` does, in operators that ONNX has, and those two."""
    found, count = [], len(MixerWeights._fields)
    for index in range(wanted[-1] + 1):
        w = MixerWeights(*weights[index * count : (index + 1) * count])
        normed = F.layer_norm(x, norm_weight.shape, norm_weight, norm_bias, norm_eps)
        tokens = F.linear(normed, w.in_proj)
        bias = torch.zeros_like(w.D) if w.conv_bias is None else w.conv_bias
        u = convolve(tokens, w.conv.t(), bias, len(w.D))
        projected = F.linear(u, w.x_proj)
        delta_weight = w.delta_proj.t()
        y = scan(u, projected, delta_weight, w.A, w.D, w.delta_bias, tokens)
        x = x + F.linear(y, w.out_proj)
        if index in wanted:
            found.append(x)
    return found


PORTABLE_ENGINE = Engine(chunked_scan, mix_blocks=partial(_mix_blocks, onnx_conv_silu, onnx_scan))
NATIVE_ENGINE = Engine(
    chunked_scan, mix_blocks=partial(_mix_blocks, _native_conv_silu, _native_scan)
)
