"""A convolutional stem: tokens that have seen their surroundings, and finer maps beside them."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

BATCH_NORM: dict[str, Any] = dict(type='BN')
ACTIVATION: dict[str, Any] = dict(type='ReLU', inplace=True)


class _Residual(BaseModule):
    def __init__(self, channels: int, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.conv = ConvModule(
            channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=ACTIVATION
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class ConvStem(BaseModule):
    """Halve an image until the grid of tokens is reached, by 3x3 convolutions.

    Training from few images needs fewer epochs with it than with patches that are projected at once
    (Xiao et al., Early Convolutions Help Transformers See Better, NeurIPS 2021), and its maps show
    small objects, for which a grid of tokens is too coarse.

    Args:
        in_channels: Channels of the image.
        channels: Channels at each halving before the last; from the second on, a residual 3x3
            convolution follows.
        embed_dims: Channels of a token.
        norm_cfg: MMCV's normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        embed_dims: int,
        norm_cfg: dict[str, Any] = BATCH_NORM,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for index, width in enumerate(channels):
            halve = ConvModule(
                in_channels, width, 3, stride=2, padding=1, norm_cfg=norm_cfg, act_cfg=ACTIVATION
            )
            refine = _Residual(width, norm_cfg) if index else nn.Identity()
            self.stages.append(nn.Sequential(halve, refine))
            in_channels = width
        self.projection = nn.Conv2d(in_channels, embed_dims, 3, stride=2, padding=1)

    @property
    def patch_size(self) -> int:
        """Side in pixels of what a token stands for."""
        return int(2 ** (len(self.stages) + 1))

    def forward(self, img: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map an image (B, in_channels, H, W), sides multiples of ``patch_size``.

        Returns:
            Maps of strides 4, 8 and so on, (B, channels[i], H / stride, W / stride), and the tokens
            (B, embed_dims, H / patch_size, W / patch_size).
        """
        maps: list[Tensor] = []
        x = img
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:], self.projection(x)
