"""Fusion of the maps of many encoder blocks into one."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.errors import ConfigError


@MODELS.register_module()
class RSFeatureAggregator(BaseModule):
    """Fuse maps of one resolution, shallow to deep, into one map.

    Each map is reduced to a few channels; then the running sum of the maps passes a residual 3x3
    convolution after each addition, so that every deeper map refines what the shallower ones say
    (RSPrompter, Chen et al., IEEE TGRS 2024, section III-C).

    Args:
        in_channels: Channels of each map, or one number for all together with ``num_inputs``.
        num_inputs: Number of maps if ``in_channels`` is a number.
        in_indices: Which of the maps that come in are fused, counted from 0; None for all. An encoder
            may return others for the head, such as SAM's embedding.
        hidden_channels: Channels while fusing.
        out_channels: Channels of the result.
        norm_cfg: MMCV's normalisation of the convolutions.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If the arguments do not say how many maps there are.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_inputs: int | None = None,
        in_indices: Sequence[int] | None = None,
        hidden_channels: int = 32,
        out_channels: int = 256,
        norm_cfg: dict[str, Any] | None = dict(type='BN'),  # noqa: B006 - a config, never written
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(in_channels, int):
            if num_inputs is None:
                raise ConfigError(
                    'RSFeatureAggregator: in_channels is one number, so num_inputs must say how '
                    "many maps come in (the length of the backbone's out_indices)."
                )
            in_channels = [in_channels] * num_inputs
        self.in_channels, self.out_channels = tuple(in_channels), out_channels
        self.in_indices = None if in_indices is None else tuple(in_indices)
        self.reduce_convs = nn.ModuleList(
            nn.Sequential(
                ConvModule(channels, hidden_channels, 1, norm_cfg=norm_cfg),
                ConvModule(hidden_channels, hidden_channels, 3, padding=1, norm_cfg=norm_cfg),
            )
            for channels in self.in_channels
        )
        self.fuse_convs = nn.ModuleList(
            ConvModule(hidden_channels, hidden_channels, 3, padding=1, norm_cfg=norm_cfg)
            for _ in self.in_channels
        )
        self.out_conv = nn.Sequential(
            ConvModule(hidden_channels, out_channels, 1, norm_cfg=norm_cfg),
            ConvModule(
                out_channels,
                out_channels,
                3,
                padding=1,
                conv_cfg=dict(type='WinogradConv2d'),
                norm_cfg=norm_cfg,
            ),
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Fuse maps into one.

        Args:
            inputs: The encoder's maps, those to be fused (B, in_channels[i], H, W).

        Returns:
            (B, out_channels, H, W).

        Raises:
            ConfigError: If the maps are not as many as it was built for, or ``in_indices`` names one
                that is not there.
        """
        indices = range(len(inputs)) if self.in_indices is None else self.in_indices
        if len(indices) != len(self.in_channels) or max(indices) >= len(inputs):
            raise ConfigError(
                f'RSFeatureAggregator was built for {len(self.in_channels)} maps and takes '
                f'{tuple(indices)} of {len(inputs)} maps that came in. Make in_channels (or num_inputs) '
                "and in_indices agree with the backbone's out_indices."
            )
        inputs = [inputs[i] for i in indices]
        reduced = [conv(x) for conv, x in zip(self.reduce_convs, inputs, strict=True)]
        fused = 0
        for conv, x in zip(self.fuse_convs, reduced, strict=True):
            fused = fused + x
            fused = fused + conv(fused)
        return self.out_conv(fused)
