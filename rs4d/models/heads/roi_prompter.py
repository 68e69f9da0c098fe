"""From a box and the features inside it to prompts."""

import math
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.errors import ConfigError


class RoIPrompter(BaseModule):
    """Turn RoI features into a few tokens that ask SAM's decoder for one object.

    After RSPrompter-anchor (Chen et al., "RSPrompter", IEEE TGRS 2024, section III-C): a strided
    convolution, then fully connected layers to all tokens at once.

    Args:
        in_channels: Channels of the RoI features.
        roi_size: Their side.
        embed_dims: Width of a token: SAM's 256.
        num_tokens: Tokens an instance.
        hidden_dims: Width of the fully connected layers.
        sine: Compute two vectors a token and return the sine of the one plus the other, which brings
            tokens into the range of SAM's own sinusoidal prompts.
        norm_cfg: MMCV's normalisation behind the convolution.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If there is no token.
    """

    def __init__(
        self,
        in_channels: int = 256,
        roi_size: int = 14,
        embed_dims: int = 256,
        num_tokens: int = 5,
        hidden_dims: int = 256,
        sine: bool = False,
        norm_cfg: dict[str, Any] = dict(type='LN2d'),  # noqa: B006 - a config, never written
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        require_tokens('RoIPrompter', num_tokens)
        self.num_tokens, self.embed_dims, self.sine = num_tokens, embed_dims, sine
        self.conv = ConvModule(in_channels, in_channels, 3, stride=2, padding=1, norm_cfg=norm_cfg)
        side = (roi_size + 1) // 2
        self.mlp = nn.Sequential(
            nn.Linear(in_channels * side * side, hidden_dims),
            nn.ReLU(),
            nn.Linear(hidden_dims, hidden_dims),
            nn.ReLU(),
            nn.Linear(hidden_dims, num_tokens * embed_dims * (2 if sine else 1)),
        )

    def forward(self, roi_feats: Tensor) -> Tensor:
        """Make tokens (N, num_tokens, embed_dims) of features (N, in_channels, side, side)."""
        return split_tokens(self.mlp(self.conv(roi_feats).flatten(1)), self.num_tokens, self.sine)


def require_tokens(owner: str, num_tokens: int) -> None:
    """Raise a ConfigError that names the owner if there is no token."""
    if num_tokens < 1:
        raise ConfigError(f'{owner}: num_tokens={num_tokens}, but an instance needs a token.')


def split_tokens(values: Tensor, num_tokens: int, sine: bool) -> Tensor:
    """Cut what a layer says of each instance into its tokens.

    Args:
        values: (N, num_tokens * C), or twice as many with ``sine``.
        num_tokens: Tokens of an instance.
        sine: Each token comes as two vectors, and is the sine of the one plus the other.

    Returns:
        (N, num_tokens, C).
    """
    tokens = values.unflatten(1, (num_tokens, -1))
    if sine:
        phase, residual = tokens.chunk(2, dim=-1)
        tokens = phase.sin() + residual
    return tokens


def token_points(num_tokens: int) -> Tensor:
    """Spread points over a box: its centre, then a ring that starts at the lower right corner.

    Args:
        num_tokens: Number of points; five are the centre and the four corners.

    Returns:
        x and y (num_tokens, 2) from 0, left or top, to 1.
    """
    angles = math.pi / 4 + torch.arange(num_tokens - 1) * 2 * math.pi / max(1, num_tokens - 1)
    # The ring through the corners, pressed into the box.
    ring = (0.5 + math.sqrt(0.5) * torch.stack([angles.cos(), angles.sin()], -1)).clamp(0, 1)
    return torch.cat([torch.full((1, 2), 0.5), ring])


def box_coverage(boxes: Tensor, input_shape: tuple[int, int], map_shape: tuple[int, int]) -> Tensor:
    """Say how much of each cell of a map a box covers.

    Args:
        boxes: x1, y1, x2, y2 in pixels (N, 4).
        input_shape: Height and width in pixels that the map covers.
        map_shape: Cells (h, w).

    Returns:
        Fractions (N, h, w) of the cells' areas, float32; no gradient flows to the boxes.
    """
    boxes = boxes.detach().float()

    def along(first: Tensor, last: Tensor, pixels: int, cells: int) -> Tensor:
        edges = torch.arange(cells + 1, device=boxes.device) * (pixels / cells)
        overlap = last[:, None].minimum(edges[1:]) - first[:, None].maximum(edges[:-1])
        return overlap.clamp(min=0) * (cells / pixels)

    rows = along(boxes[:, 1], boxes[:, 3], input_shape[0], map_shape[0])
    columns = along(boxes[:, 0], boxes[:, 2], input_shape[1], map_shape[1])
    return rows[:, :, None] * columns[:, None]


def box_windows(
    boxes: Tensor, margin: float, input_shape: tuple[int, int], map_shape: tuple[int, int]
) -> Tensor:
    """Find the cells of a map that boxes with a margin touch, and one more on each side.

    Args:
        boxes: x1, y1, x2, y2 in pixels (N, 4).
        margin: How far a window reaches beyond its box on each side, as a share of the box's sides.
        input_shape: Height and width in pixels that the map covers.
        map_shape: Cells (h, w).

    Returns:
        Left, top, right and bottom (N, 4), integers; at least one cell.
    """
    first, last = boxes.detach().float().split(2, 1)
    reach = margin * (last - first)
    cells = first.new_tensor(map_shape[::-1])
    scale = cells / first.new_tensor(input_shape[::-1])
    first = (((first - reach) * scale).floor() - 1).clamp(min=0).minimum(cells - 1)
    last = (((last + reach) * scale).ceil() + 1).minimum(cells).maximum(first + 1)
    return torch.cat([first, last], 1).long()
