"""3x3 convolutions with a quarter of the multiplications, where a CPU predicts.

Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
2016), F(4x4, 3x3): 16 results of a filter g on a tile d of 6x6 cells are A^T [(G g G^T) * (B^T d B)] A,
36 products of a pair of channels in place of 144. Over all channels and tiles they are 36 products of
matrices, and the tiles of a map are worked on a few at a time, so that they stay in the cache.

Rounding grows by a factor of about 4: errors of 5e-5 where the direct sum in float32 has 1.2e-5, for 256
channels and results of a standard deviation of 1.
"""

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

# Interpolation at 0, 1, -1, 2, -2 and infinity.
_INPUT = torch.tensor(  # B^T
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
_FILTER = torch.tensor(  # G
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
_RESULT = torch.tensor(  # A^T
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ],
    dtype=torch.float32,
)
_FILTERS = torch.kron(_FILTER, _FILTER).float()
_SIDE = 4  # of the results of a tile
_TILES_AT_ONCE = 256
# Below these the way to and from tiles costs more than the products save.
_MIN_CHANNELS = 128
_MIN_TILES = 64


# The root registry: MMCV looks up the conv_cfg of a convolution there when no scope is set.
@MODELS.register_module()
class WinogradConv2d(nn.Conv2d):
    """``nn.Conv2d`` with its arguments, numbers and weights; 3x3 ones take less time on CPUs.

    Only in float32, without gradients, and where a map is large enough and has channels enough.
    Everything else is ``nn.Conv2d``, as is what compilers, exporters and counters of operations see.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, in_channels, H, W); the result is channels-last where that pays."""
        if self._pays(input):
            return convolve(input, self.weight, self.bias)
        return super().forward(input)

    def _pays(self, x: Tensor) -> bool:
        return (
            not torch.is_grad_enabled()
            and x.device.type == 'cpu'
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled('cpu')
            and (self.kernel_size, self.stride, self.dilation) == ((3, 3), (1, 1), (1, 1))
            and (self.padding, self.padding_mode, self.groups) == ((1, 1), 'zeros', 1)
            and min(self.in_channels, self.out_channels) >= _MIN_CHANNELS
            and x.dim() == 4
            and len(x) * _tiles(x.shape[2]) * _tiles(x.shape[3]) >= _MIN_TILES
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and not is_in_torch_dispatch_mode()
        )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with zeros around the map, in float32 and without gradients.

    Args:
        x: (B, C, H, W), best channels-last.
        weight: (M, C, 3, 3).
        bias: (M,) or None.

    Returns:
        (B, M, H, W), channels-last.
    """
    batch, channels, height, width = x.shape
    outputs = len(weight)
    rows, columns = _tiles(height), _tiles(width)
    filters = _FILTERS @ weight.flatten(2).permute(2, 1, 0).reshape(9, -1)
    filters = filters.view(36, channels, outputs)
    cells = x.permute(0, 2, 3, 1)
    result = x.new_empty(batch, rows, _SIDE, columns, _SIDE, outputs)
    images = max(1, _TILES_AT_ONCE // (rows * columns))
    step = rows if images > 1 else max(1, _TILES_AT_ONCE // columns)
    for image in range(0, batch, images):
        for row in range(0, rows, step):
            into = result[image : image + images, row : row + step]
            products = _products(
                _strips(cells[image : image + images], row, into.shape[1]), filters
            )
            into = into.permute(2, 4, 0, 1, 3, 5)
            products = products.view(into.shape)
            into.copy_(products) if bias is None else torch.add(products, bias, out=into)
    result = result.view(batch, _SIDE * rows, _SIDE * columns, outputs)[:, :height, :width]
    return result.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _strips(cells: Tensor, row: int, count: int) -> Tensor:
    """Cut (B, H, W, C) into rows of tiles, which overlap by two cells: (B, count, 6, width, C)."""
    height, width = cells.shape[1:3]
    above, below = _SIDE * row - 1, _SIDE * (row + count) + 1
    right = _SIDE * _tiles(width) + 1 - width
    zeros = (0, 0, 1, right, max(0, -above), max(0, below - height))
    return F.pad(cells[:, max(0, above) : below], zeros).unfold(1, 6, _SIDE).permute(0, 1, 4, 2, 3)


def _products(strips: Tensor, filters: Tensor) -> Tensor:
    """Filter tiles of strips (b, r, 6, width, C): (4 rows, 4 columns of a tile, all of the tiles' M)."""
    count, width, channels = strips.shape[:2].numel(), *strips.shape[3:]
    d = torch.bmm(_INPUT.expand(count, 6, 6), strips.reshape(count, 6, -1))
    # The other direction: 6 columns of each tile.
    d = d.view(count, 6, width, channels).unfold(2, 6, _SIDE).permute(1, 4, 0, 2, 3)
    d = torch.bmm(_INPUT.expand(6, 6, 6), d.reshape(6, 6, -1))
    d = torch.bmm(d.view(36, -1, channels), filters)
    d = torch.bmm(_RESULT.expand(6, _SIDE, 6), d.view(6, 6, -1))
    return (_RESULT @ d.view(6, -1)).view(_SIDE, _SIDE, -1)


def _tiles(cells: int) -> int:
    return -(-cells // _SIDE)
