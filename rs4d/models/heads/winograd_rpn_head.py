"""The region proposal network with less time in its convolution."""

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor

from rs4d.models.winograd import WinogradConv2d


@MODELS.register_module()
class WinogradRPNHead(RPNHead):
    """MMDetection's ``RPNHead``, with its arguments, numbers and weights.

    Its 3x3 convolution runs over every level of the pyramid, three quarters of it on the finest, and
    takes no ``conv_cfg``.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.num_convs == 1:
            self.rpn_conv = WinogradConv2d(self.in_channels, self.feat_channels, 3, padding=1)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score and move the anchors of one level (B, C, H, W).

        Returns:
            Scores (B, anchors, H, W) and deltas (B, 4 anchors, H, W).
        """
        if torch.is_grad_enabled() or self.num_convs > 1:
            return super().forward_single(x)
        # In place: the finest level is large.
        x = self.rpn_conv(x).relu_()
        return self.rpn_cls(x), self.rpn_reg(x)
