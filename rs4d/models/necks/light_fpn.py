"""A narrow feature pyramid of separable convolutions."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.errors import ConfigError


@MODELS.register_module()
class LightFPN(BaseModule):
    """Make a narrow pyramid out of maps of one or several strides.

    A feature pyramid (Lin et al., CVPR 2017) whose 3x3 convolutions are separable. Maps of one stride
    are added after their 1x1 convolutions. A level finer than every map takes its own from the finest:
    a 1x1 convolution gives all cells of a token, which are laid out side by side (Shi et al., CVPR
    2016). Coarser levels are convolved with stride 2.

    Args:
        in_channels: Channels of each map, or a number if one map comes in.
        in_strides: Stride of each map, powers of two, or a number if one comes in.
        out_channels: Channels of every level.
        out_strides: Strides of the levels, each twice the one before; one at least is that of a map.
        norm_cfg: MMCV's normalisation.
        act_cfg: MMCV's activation.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If the strides are not as above.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        in_strides: int | Sequence[int],
        out_channels: int = 64,
        out_strides: Sequence[int] = (4, 8, 16, 32),
        norm_cfg: dict[str, Any] = dict(type='BN'),  # noqa: B006 - a config, never written
        act_cfg: dict[str, Any] = dict(type='ReLU', inplace=True),  # noqa: B006
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.in_strides = (in_strides,) if isinstance(in_strides, int) else tuple(in_strides)
        self.out_channels, self.out_strides = out_channels, tuple(out_strides)
        doubled = [self.out_strides[0] * 2**index for index in range(len(self.out_strides))]
        if (
            len(self.in_channels) != len(self.in_strides)
            or any(stride < 1 or stride & (stride - 1) for stride in self.in_strides)
            or list(self.out_strides) != doubled
            or not set(self.in_strides) <= set(doubled)
        ):
            raise ConfigError(
                f'LightFPN: in_channels={self.in_channels} and in_strides={self.in_strides} should be '
                f'as many as maps come in, and out_strides={self.out_strides} powers of two, each '
                'twice the one before, with the in_strides among them.'
            )
        self.laterals = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
            for channels in self.in_channels
        )
        finest, coarsest = min(self.in_strides), max(self.in_strides)
        self.source = self.in_strides.index(finest)
        self.splits = nn.ModuleDict(
            {
                str(stride): nn.Sequential(
                    nn.Conv2d(
                        self.in_channels[self.source], out_channels * (finest // stride) ** 2, 1
                    ),
                    nn.PixelShuffle(finest // stride),
                )
                for stride in self.out_strides
                if stride < finest
            }
        )
        self.levels = nn.ModuleList(
            DepthwiseSeparableConvModule(
                out_channels,
                out_channels,
                3,
                stride=2 if stride > coarsest else 1,
                padding=1,
                norm_cfg=norm_cfg,
                act_cfg=act_cfg,
            )
            for stride in self.out_strides
        )

    def forward(self, inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Make the pyramid.

        Args:
            inputs: The encoder's maps, (B, in_channels[i], H / in_strides[i], W / in_strides[i]), or one
                map alone.

        Returns:
            A map for each of ``out_strides``, (B, out_channels, H / stride, W / stride).
        """
        inputs = [inputs] if isinstance(inputs, Tensor) else inputs
        sums: dict[int, Tensor] = {
            int(stride): split(inputs[self.source]) for stride, split in self.splits.items()
        }
        for x, stride, lateral in zip(inputs, self.in_strides, self.laterals, strict=True):
            sums[stride] = sums[stride] + lateral(x) if stride in sums else lateral(x)
        coarser: Tensor | None = None
        for stride in sorted(sums, reverse=True):
            if coarser is not None:
                sums[stride] = sums[stride] + F.interpolate(coarser, scale_factor=2.0)
            coarser = sums[stride]
        pyramid: list[Tensor] = []
        for stride, level in zip(self.out_strides, self.levels, strict=True):
            pyramid.append(level(sums[stride] if stride in sums else pyramid[-1]))
        return tuple(pyramid)
