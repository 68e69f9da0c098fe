"""All blocks of a bidirectional Mamba encoder as one PyTorch operator, for exported programs.

A graph cannot lend memory from one mixer to the next, as an encoder does when it runs: inside of one
operator they share it, and a program takes the encoder's own time.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..workspace import MixerWeights, Workspace
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
    workspace, found = Workspace(), []
    count = len(MixerWeights._fields)
    for index in range(len(weights) // count):
        of_block = MixerWeights(*weights[index * count : (index + 1) * count])
        add_mixed(x, norm, of_block, workspace)
        if index in wanted:
            found.append(x.clone())
    return found


@mix_blocks.register_fake
def _(x, norm_weight, norm_bias, norm_eps, weights, wanted):
    return [x.new_empty(x.shape) for _ in wanted]
