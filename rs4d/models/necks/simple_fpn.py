"""A feature pyramid out of one map."""

from typing import Any

from mmcv.cnn import ConvModule, build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Make strides 4, 8, 16, 32 and coarser ones out of one map.

    The simple feature pyramid of ViTDet (Li et al., ECCV 2022, section 3): transposed convolutions
    upwards, pooling downwards, then a 1x1 and a 3x3 convolution on every level.

    Args:
        in_channels: Channels of the map that comes in.
        out_channels: Channels of every level.
        num_outs: Levels. Four are made by convolution, those above by pooling with stride 2.
        in_stride: Stride of the map that comes in: the encoder's patch size, 4, 8, 16 or 32.
        norm_cfg: MMCV's normalisation.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: If an argument is not one of the choices above, or ``in_channels`` cannot be
            halved at each step up.
    """

    def __init__(
        self,
        in_channels: int = 256,
        out_channels: int = 256,
        num_outs: int = 5,
        in_stride: int = 16,
        norm_cfg: dict[str, Any] = dict(type='LN2d'),  # noqa: B006 - a config, never written
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if in_stride not in STRIDES:
            raise ValueError(f'SimpleFPN: in_stride={in_stride} is not one of {STRIDES}.')
        if in_channels % (in_stride // STRIDES[0]):
            raise ValueError(
                f'SimpleFPN: in_channels={in_channels} cannot be halved at each step from stride '
                f'{in_stride} to {STRIDES[0]}; make it a multiple of {in_stride // STRIDES[0]}.'
            )
        if num_outs < len(STRIDES):
            raise ValueError(f'SimpleFPN: num_outs={num_outs}, but at least 4 levels are made.')
        self.scales = nn.ModuleList()
        self.levels = nn.ModuleList()
        for stride in STRIDES:
            self.scales.append(_rescale(in_channels, in_stride, stride, norm_cfg))
            channels = in_channels // max(1, in_stride // stride)
            self.levels.append(
                nn.Sequential(
                    ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
                    ConvModule(
                        out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None
                    ),
                )
            )
        self.pool = nn.MaxPool2d(1, stride=2)
        self.num_outs = num_outs

    def forward(self, x: Tensor | tuple[Tensor]) -> tuple[Tensor, ...]:
        """Make the pyramid.

        Args:
            x: A map (B, in_channels, H, W), or a tuple with that map alone.

        Returns:
            ``num_outs`` maps with ``out_channels`` channels, finest first; with ``in_stride=16``
            they are (4H, 4W), (2H, 2W), (H, W), (H/2, W/2) and so on.
        """
        if isinstance(x, tuple | list):
            (x,) = x
        pyramid = [level(scale(x)) for scale, level in zip(self.scales, self.levels, strict=True)]
        while len(pyramid) < self.num_outs:
            pyramid.append(self.pool(pyramid[-1]))
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
