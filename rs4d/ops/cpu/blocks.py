"""All blocks of a bidirectional Mamba encoder as one PyTorch operator, for exported programs.

A graph cannot lend memory from one mixer to the next, as an encoder does when it runs: inside of one
operator they share it, and a program takes the encoder's own time.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import chunked, definition
from ..workspace import MixerWeights, Workspace
from .library import unavailable_reason
from .mixer import add_mixed


@torch.library.custom_op('rs4d::mix_blocks_cpu', mutates_args=())
def mix_blocks(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    norm_eps: float,
    weights: list[Tensor],
    wanted: list[int],
) -> list[Tensor]:
    """Run blocks ``x = x + mixer(norm(x))`` one after another, without gradients.

    Where the kernels were not built, and on other devices than CPUs, PyTorch's own operators do it.

    Args:
        x: Tokens (B, L, E), float32, bfloat16 or float16.
        norm_weight: That of a layer norm which all blocks share, (E,).
        norm_bias: Likewise.
        norm_eps: Likewise.
        weights: Each block's, in the order of `MixerWeights`.
        wanted: Blocks, counted from 0, ascending.

    Returns:
        For each of ``wanted``, the tokens behind it, (B, L, E).
    """
    x = x.clone(memory_format=torch.contiguous_format)
    norm = partial(
        F.layer_norm,
        normalized_shape=norm_weight.shape,
        weight=norm_weight,
        bias=norm_bias,
        eps=norm_eps,
    )
    has_kernels = x.device.type == 'cpu' and unavailable_reason() is None
    workspace, found = Workspace(), []
    count = len(MixerWeights._fields)
    for index in range(len(weights) // count):
        of_block = MixerWeights(*weights[index * count : (index + 1) * count])
        if has_kernels:
            add_mixed(x, norm, of_block, workspace)
        else:
            x = x + _mixed(norm(x), of_block)
        if index in wanted:
            found.append(x.clone())
    return found


@mix_blocks.register_fake
def _(x, norm_weight, norm_bias, norm_eps, weights, wanted):
    return [x.new_empty(x.shape) for _ in wanted]


def _mixed(x: Tensor, weights: MixerWeights) -> Tensor:
    """Do in PyTorch's operators what a mixer does to normed tokens (B, L, E)."""
    channels, states = weights.A.shape
    x_proj, delta = weights.x_proj, weights.delta_proj.float()
    tokens = F.linear(x, weights.in_proj)
    sequence, gate = tokens.float().split(channels, dim=-1)
    bias = None if weights.conv_bias is None else weights.conv_bias.float()
    u = definition.conv_silu(sequence, weights.conv.float(), bias)
    rows = F.linear(u.to(x.dtype), x_proj).float()
    dt, B, C = rows.split([delta.shape[1], states, states], dim=-1)
    y = chunked.scan(
        u,
        F.linear(dt, delta),
        weights.A.float(),
        B,
        C,
        weights.D.float(),
        weights.delta_bias.float(),
        gate,
        reverse=False,
    )
    return F.linear(y.to(x.dtype), weights.out_proj)
