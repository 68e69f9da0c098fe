"""A whole bidirectional mixer without gradients, in memory that is there."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..workspace import MixerWeights, Workspace, product_type
from .conv import conv_silu_into
from .scan import scan_into

# Products smaller than this gain nothing from oneDNN.
_MIN_ROWS = 1024
# Fresh memory up to here is memory that the allocator has kept (glibc's largest threshold for that);
# beyond, every page of it is faulted in anew, which costs more than the faster product gains.
_MAX_FRESH_BYTES = 31 << 20


def mixer(x: Tensor, weights: MixerWeights, workspace: Workspace) -> Tensor:
    """Mix tokens on the CPU.

    Args:
        x: (B, L, E), float32 or bfloat16.
        weights: The mixer's, of any type.
        workspace: Overwritten.

    Returns:
        (B, L, E), fresh, in the type of ``x``, or under autocast in bfloat16.
    """
    dtype = product_type(x)
    with torch.autocast('cpu', enabled=False):
        return _mix(x.to(dtype), weights, workspace)


def _mix(x: Tensor, weights: MixerWeights, workspace: Workspace) -> Tensor:
    dtype = x.dtype
    batch, length, _ = x.shape
    channels, states = weights.A.shape
    rank = weights.delta_proj.shape[1]
    xz = token_product(
        x.reshape(batch * length, -1),
        weights.in_proj.to(dtype),
        workspace.take('xz', (batch * length, 2 * channels), dtype),
    )
    sequence, z = xz.view(batch, length, -1).chunk(2, dim=-1)
    u = workspace.take('u', (2, batch, length, channels), dtype)
    bias = None if weights.conv_bias is None else weights.conv_bias.float()
    conv_silu_into(u, sequence, weights.conv.float(), bias)
    # Both directions in one product each.
    projection = token_product(
        u.flatten(0, 2),
        weights.x_proj.to(dtype),
        workspace.take('projection', (2 * batch * length, rank + 2 * states), dtype),
    )
    dt, B, C = projection.view(2, batch, length, -1).split([rank, states, states], dim=-1)
    parameters = (x.float() for x in (weights.D, weights.delta_bias))
    y = u[0]  # a tile of u is read before its y is written
    A, weight = weights.A.float(), weights.delta_proj.float()
    partial = None if dtype == torch.float32 else workspace.take('partial', y.shape)
    scan_into(y, u, dt, A, B, C, *parameters, z, delta_weight=weight, partial=partial)
    return token_product(y.flatten(0, 1), weights.out_proj.to(dtype)).view(batch, length, -1)


def token_product(x: Tensor, weight: Tensor, memory: Tensor | None = None) -> Tensor:
    """Multiply tokens with a weight, without gradients: ``x @ weight.T``.

    PyTorch multiplies float32 matrices on CPUs with MKL and convolves with oneDNN, and a convolution
    with kernels of one pixel over channels-last pixels is the same product. On AMD's processors
    oneDNN takes two thirds to five sixths of MKL's time for a mixer's shapes.

    Args:
        x: Tokens (L, C), contiguous.
        weight: (M, C), of the same type.
        memory: (L, M) for the result where the product can be put there.

    Returns:
        (L, M): ``memory``, or fresh.
    """
    rows, channels = x.shape
    outputs = weight.shape[0]
    # Pixels in rows of one would not be known as channels last.
    width = math.gcd(rows, 64)
    # Products in bfloat16 are oneDNN's as it is.
    if (
        x.dtype != torch.float32
        or not torch.backends.mkldnn.is_available()
        or width == 1
        or rows < _MIN_ROWS
        or 4 * rows * outputs > _MAX_FRESH_BYTES
    ):
        return torch.mm(x, weight.t(), out=memory)
    pixels = x.view(1, rows // width, width, channels).permute(0, 3, 1, 2)
    result = F.conv2d(pixels, weight[:, :, None, None])
    return result.permute(0, 2, 3, 1).reshape(rows, outputs)
