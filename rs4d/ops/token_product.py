"""Matrix products of tokens on the CPU, by the faster of the two libraries that PyTorch has."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Products smaller than this gain nothing.
_MIN_ROWS = 1024
# Fresh memory up to here is memory that the allocator has kept (glibc's largest threshold for that);
# beyond, every page of it is faulted in anew, which costs more than the faster product gains.
_MAX_FRESH_BYTES = 31 << 20


def token_product_definition(x: Tensor, weight: Tensor) -> Tensor:
    """Define `token_product` in plain PyTorch; arguments and result are the same."""
    return F.linear(x, weight)


def token_product(x: Tensor, weight: Tensor, memory: Tensor | None = None) -> Tensor:
    """Multiply tokens with a weight, without gradients: ``x @ weight.T``.

    PyTorch multiplies float32 matrices on CPUs with MKL and convolves with oneDNN, and a convolution
    with kernels of one pixel over channels-last pixels is the same product. On AMD's processors
    oneDNN takes two thirds to five sixths of MKL's time for a mixer's shapes.

    Args:
        x: Tokens (L, C), float32, contiguous.
        weight: (M, C).
        memory: (L, M) for the result where the product can be put there.

    Returns:
        (L, M): ``memory``, or fresh.
    """
    rows, channels = x.shape
    outputs = weight.shape[0]
    # Pixels in rows of one would not be known as channels last.
    width = math.gcd(rows, 64)
    if (
        not torch.backends.mkldnn.is_available()
        or width == 1
        or rows < _MIN_ROWS
        or 4 * rows * outputs > _MAX_FRESH_BYTES
    ):
        return torch.mm(x, weight.t(), out=memory)
    pixels = x.view(1, rows // width, width, channels).permute(0, 3, 1, 2)
    result = F.conv2d(pixels, weight[:, :, None, None])
    return result.permute(0, 2, 3, 1).reshape(rows, outputs)
