"""A feature pyramid out of one map."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.errors import ConfigError

# Levels with weights of their own; coarser ones are subsampled.
CONVOLVED_LEVELS = 4


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Make maps of several strides out of one map.

    The simple feature pyramid of ViTDet (Li et al., ECCV 2022, section 3): transposed convolutions
    upwards, pooling downwards, then a 1x1 and a 3x3 convolution on each of the first four levels.
    Levels behind those subsample the one before.

    Args:
        in_channels: Channels of the map that comes in.
        out_channels: Channels of every level.
        in_stride: Stride of the map that comes in: the encoder's ``patch_size``, a power of two.
        out_strides: Strides of the levels, ascending powers of two, such as those that the heads
            name.
        norm_cfg: MMCV's normalisation.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If a stride is no power of two, ``out_strides`` do not ascend, or
            ``in_channels`` cannot be halved at each step up.
    """

    def __init__(
        self,
        in_channels: int = 256,
        out_channels: int = 256,
        in_stride: int = 16,
        out_strides: Sequence[int] = (4, 8, 16, 32, 64),
        norm_cfg: dict[str, Any] = dict(type='LN2d'),  # noqa: B006 - a config, never written
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels, self.in_stride = in_channels, out_channels, in_stride
        self.out_strides = tuple(out_strides)
        if (
            any(stride < 1 or stride & (stride - 1) for stride in (in_stride, *self.out_strides))
            or not self.out_strides
            or sorted(set(self.out_strides)) != list(self.out_strides)
        ):
            raise ConfigError(
                f'SimpleFPN: in_stride={in_stride} and out_strides={self.out_strides} should be '
                'powers of two, those of out_strides ascending, such as (4, 8, 16, 32, 64).'
            )
        steepest = max(1, in_stride // self.out_strides[0])
        if in_channels % steepest:
            raise ConfigError(
                f'SimpleFPN: in_channels={in_channels} cannot be halved at each step from stride '
                f'{in_stride} to {self.out_strides[0]}; make it a multiple of {steepest}.'
            )
        self.scales = nn.ModuleList()
        self.levels = nn.ModuleList()
        for stride in self.out_strides[:CONVOLVED_LEVELS]:
            self.scales.append(_rescale(in_channels, in_stride, stride, norm_cfg))
            channels = in_channels // max(1, in_stride // stride)
            self.levels.append(
                nn.Sequential(
                    ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
                    ConvModule(
                        out_channels,
                        out_channels,
                        3,
                        padding=1,
                        conv_cfg=dict(type='WinogradConv2d'),
                        norm_cfg=norm_cfg,
                        act_cfg=None,
                    ),
                )
            )

    def forward(self, x: Tensor | tuple[Tensor]) -> tuple[Tensor, ...]:
        """Make the pyramid.

        Args:
            x: A map (B, in_channels, H, W), or a tuple with that map alone.

        Returns:
            A map for each of ``out_strides``, (B, out_channels, H * in_stride / stride, W *
            in_stride / stride).
        """
        if isinstance(x, tuple | list):
            (x,) = x
        pyramid = [level(scale(x)) for scale, level in zip(self.scales, self.levels, strict=True)]
        for finer, stride in pairwise(self.out_strides[CONVOLVED_LEVELS - 1 :]):
            pyramid.append(F.max_pool2d(pyramid[-1], 1, stride=stride // finer))
        return tuple(pyramid)


def _rescale(channels: int, in_stride: int, stride: int, norm_cfg: dict[str, Any]) -> nn.Module:
    """Build what takes a map from one stride to another; each step up halves the channels."""
    if stride == in_stride:
        return nn.Identity()
    if stride > in_stride:
        return nn.MaxPool2d(stride // in_stride)
    steps: list[nn.Module] = []
    while in_stride > stride:
        if steps:
            steps += [build_norm_layer(norm_cfg, channels)[1], nn.GELU()]
        steps.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels //= 2
        in_stride //= 2
    return nn.Sequential(*steps)
