"""A mixer with norm and residual, without gradients, one span of tokens after another.

As long as the sequence are only what goes into the convolution and what the scan of the first direction
leaves to the second one. All else lives for a span, in cache, so that time and memory grow with the
number of tokens and no faster.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..workspace import MixerWeights, Workspace, product_type
from .conv import conv_silu_into
from .library import padded_channels
from .scan import scan_span

# Tokens of a span: enough for products at full speed.
_SPAN = 2048
# How many rows products need to be faster as convolutions.
_MIN_ROWS = 1024


def _convolves() -> bool:
    """Whether products are faster as convolutions: with AVX-512 not of Intel, where MKL is slow."""
    if not torch.backends.mkldnn.is_available():
        return False
    # Older versions of PyTorch don't say.
    capabilities: dict[str, object] = getattr(torch.cpu, 'get_capabilities', dict)()
    intel = str(capabilities.get('cpu_name', '')).startswith('Intel')
    return torch.backends.cpu.get_cpu_capability() == 'AVX512' and not intel


_CONVOLVES = _convolves()


def add_mixed(
    x: Tensor, norm: Callable[[Tensor], Tensor], weights: MixerWeights, workspace: Workspace
) -> None:
    """Add to tokens what the mixer makes of them behind the norm.

    Args:
        x: (B, L, E), contiguous, float32, bfloat16 or float16; overwritten.
        norm: Acts on each token alone; called with some at a time.
        weights: The mixer's, of any type.
        workspace: Overwritten.
    """
    dtype = product_type(x)
    with torch.autocast('cpu', enabled=False):
        products = {'in_proj', 'x_proj', 'out_proj'}
        converted: dict[str, Any] = {
            name: None
            if weight is None
            else weight.to(dtype if name in products else torch.float32)
            for name, weight in weights._asdict().items()
        }
        # Whole sequences, or spans of one.
        for sequences in x.split(max(1, _SPAN // x.shape[1])):
            _add_mixed(sequences, norm, MixerWeights(**converted), workspace)


def _add_mixed(
    x: Tensor, norm: Callable[[Tensor], Tensor], weights: MixerWeights, workspace: Workspace
) -> None:
    dtype = weights.in_proj.dtype
    batch, length, _ = x.shape
    channels, states = weights.A.shape
    rank = weights.delta_proj.shape[1]
    to_sequence, to_gate = weights.in_proj.chunk(2)
    sequence = workspace.take('sequence', (batch, length, channels), dtype)
    partial = workspace.take('partial', (batch, length, channels))
    state = workspace.take('state', (batch, states, padded_channels(channels)))

    def multiply(tokens: Tensor, weight: Tensor, name: str) -> Tensor:
        shape = (tokens.shape[0] * tokens.shape[1], weight.shape[0])
        memory = workspace.take(name, shape, dtype)
        return token_product(tokens.flatten(0, 1), weight, memory).view(*tokens.shape[:2], -1)

    for index in (0, 1):
        state.zero_()
        starts = range(0, length, _SPAN)
        for first in starts if index == 0 else reversed(starts):
            span = slice(first, min(first + _SPAN, length))
            tokens = x[:, span]
            normed = norm(tokens).to(dtype)
            if index == 0:
                memory = sequence[:, span].flatten(0, 1)
                made = token_product(normed.flatten(0, 1), to_sequence, memory)
                if made is not memory:
                    memory.copy_(made)
            u = workspace.take('u', (batch, tokens.shape[1], channels), dtype)
            out = (u, None) if index == 0 else (None, u)
            conv_silu_into(out, sequence, weights.conv, weights.conv_bias, (span.start, span.stop))
            projection = multiply(u, weights.x_proj, 'projection')
            z = multiply(normed, to_gate, 'gate') if index == 1 else None
            dt, B, C = projection[None].split([rank, states, states], dim=-1)
            scan_span(
                u,  # a tile of u is read before its y is written
                *(u[None], dt, weights.A, B, C, weights.D, weights.delta_bias, z),
                index=index,
                delta_weight=weights.delta_proj,
                partial=partial[:, span],
                state=state,
            )
            if index == 1:
                tokens += multiply(u, weights.out_proj, 'out')


def token_product(x: Tensor, weight: Tensor, memory: Tensor) -> Tensor:
    """Multiply tokens with a weight, without gradients: ``x @ weight.T``.

    PyTorch multiplies float32 matrices on CPUs with MKL and convolves with oneDNN, and a convolution
    with kernels of one pixel over channels-last pixels is the same product. On AMD's processors with
    AVX-512, which MKL leaves alone, oneDNN takes two thirds to five sixths of MKL's time for a mixer's
    shapes; with AVX2 both take the same, and on Intel's own with AVX-512 MKL takes five sixths of
    oneDNN's.

    Args:
        x: Tokens (L, C), contiguous.
        weight: (M, C), of the same type.
        memory: (L, M), for the result where the product can be put there.

    Returns:
        (L, M): ``memory``, or fresh.
    """
    rows, channels = x.shape
    # Pixels in rows of one would not be known as channels last.
    width = math.gcd(rows, 64)
    # Products in bfloat16 and float16 are oneDNN's as it is.
    if not _CONVOLVES or x.dtype != torch.float32 or width == 1 or rows < _MIN_ROWS:
        return torch.mm(x, weight.t(), out=memory)
    pixels = x.view(1, rows // width, width, channels).permute(0, 3, 1, 2)
    kernels = weight[:, :, None, None]
    # conv2d takes oneDNN for kernels of one pixel only where there are several threads.
    result = torch.mkldnn_convolution(pixels, kernels, None, (0, 0), (1, 1), (1, 1), 1)
    return result.permute(0, 2, 3, 1).reshape(rows, weight.shape[0])
