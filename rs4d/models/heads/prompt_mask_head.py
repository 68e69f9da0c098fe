"""One mask an instance from SAM's decoder, asked by tokens of the instance's box."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.errors import ConfigError

from .mask_upsampling import resize
from .roi_prompter import RoIPrompter, box_coverage, box_windows, token_points
from .sam_mask_decoder import EMBED_DIMS, DensePrompt, embedding_projection

_DICE = dict(type='DiceLoss', use_sigmoid=True, naive_dice=True, eps=1.0)


@MODELS.register_module()
class PromptMaskHead(BaseModule):
    """Class-agnostic masks over the whole image, one for each box.

    The prompt head of RS4D (Yang et al., IEEE TGRS 2026), after RSPrompter-anchor (Chen et al., IEEE
    TGRS 2024): RoI features become prompt tokens, and SAM's mask decoder answers them over the
    encoder's embedding. The box branch gives class and score.

    Args:
        embedding_channels: Channels of the embedding; if they are not SAM's 256, a 1x1 convolution
            makes them so.
        prompter: Arguments of :class:`~rs4d.models.heads.RoIPrompter`.
        decoder: Config of :class:`~rs4d.models.heads.SAMMaskDecoder`, or of another module with
            its ``forward`` and ``encode_points``.
        with_positions: Add to each token SAM's positional code of one point of its box: the centre
            for the first, the corners for the others (with five). RoI features alone do not say where
            in the image their box is.
        box_prompt: Add a learned vector to the embedding where the box is: a dense prompt, as SAM has
            for masks. A decoder from random weights takes long to learn from tokens where to look;
            this shows it from the first step. SAM's own weights have never seen it.
        loss_mask: Loss over the pixels of the input, given logits and targets (N, H, W).
        loss_dice: A second one, given the same, or None. Small objects are few pixels of an image,
            which the mean over pixels hardly sees.
        norm_cfg: MMCV's normalisation behind the convolution of the embedding.
        init_cfg: MMEngine's initialisation.
    """

    def __init__(
        self,
        embedding_channels: int = EMBED_DIMS,
        prompter: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        with_positions: bool = True,
        box_prompt: bool = False,
        loss_mask: dict[str, Any] | None = None,
        loss_dice: dict[str, Any] | None = _DICE,
        norm_cfg: dict[str, Any] = dict(type='LN2d'),  # noqa: B006 - a config, never written
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.embedding_channels = embedding_channels
        self.project = embedding_projection(embedding_channels, norm_cfg)
        self.prompter = RoIPrompter(embed_dims=EMBED_DIMS, **(prompter or {}))
        self.decoder = MODELS.build(decoder or dict(type='SAMMaskDecoder'))
        self.with_positions = with_positions
        # N(0, 1), as SAM's own prompts start.
        self.box_embed = nn.Parameter(torch.randn(EMBED_DIMS)) if box_prompt else None
        self.points: Tensor
        self.register_buffer('points', token_points(self.prompter.num_tokens), persistent=False)
        self.loss_mask = MODELS.build(loss_mask or dict(type='CrossEntropyLoss', use_sigmoid=True))
        self.loss_dice = None if loss_dice is None else MODELS.build(loss_dice)

    def embed(self, embedding: Tensor) -> Tensor:
        """Bring an embedding (B, embedding_channels, h, w) to the decoder's 256 channels.

        Raises:
            ConfigError: If it has other channels than the head was built for.
        """
        if embedding.shape[1] != self.embedding_channels:
            raise ConfigError(
                f'PromptMaskHead was built for an embedding of {self.embedding_channels} channels '
                f'but got {embedding.shape[1]}. Set roi_head.mask_head.embedding_channels='
                f'{embedding.shape[1]} in the config: the channels of the last map of the backbone '
                "under PromptMaskRCNN, those of the neck's levels under other detectors."
            )
        return self.project(embedding)

    def forward(
        self,
        roi_feats: Tensor,
        rois: Tensor,
        embedding: Tensor,
        input_shape: tuple[int, int],
        margin: float | None = None,
    ) -> Tensor:
        """Decode the masks of boxes.

        Args:
            roi_feats: (N, C, 14, 14).
            rois: (N, 5): the image of the box in the batch, then x1, y1, x2, y2 in pixels.
            embedding: What :meth:`embed` returned, (B, 256, h, w).
            input_shape: Height and width in pixels that the embedding covers.
            margin: How far masks may reach beyond their box, as a share of its sides: nothing is
                decoded further away. None for no limit.

        Returns:
            Logits (N, 4h, 4w).
        """
        tokens = self.prompter(roi_feats)
        if self.with_positions:
            tokens = tokens + self.decoder.encode_points(self._box_points(rois, input_shape))
        boxes, (height, width) = rois[:, 1:], embedding.shape[-2:]
        dense = windows = None
        if self.box_embed is not None:
            coverage = box_coverage(boxes, input_shape, (height, width))
            dense = DensePrompt(coverage[:, None], self.box_embed[None].clone())
        if margin is not None:
            windows = box_windows(boxes, margin, input_shape, (height, width))
        return self.decoder(tokens, embedding, rois[:, 0].long(), dense, windows)

    def _box_points(self, rois: Tensor, input_shape: tuple[int, int]) -> Tensor:
        """Place each token's point in each box: fractions of the input's sides (N, T, 2)."""
        corners = rois[:, None, 1:].detach().float()
        points = torch.lerp(corners[..., :2], corners[..., 2:], self.points)
        return points / points.new_tensor(input_shape[::-1])

    def loss(
        self, logits: Sequence[Tensor], targets: Sequence[Tensor], input_shape: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Compare masks with the truth at the input's resolution.

        Args:
            logits: For each image, the masks (N_i, 4h, 4w) of its instances; N_i may be 0, but not
                in all images.
            targets: For each image, the true masks (N_i, H_i, W_i), 0 and 1. They may be smaller
                than the input, as padding may not be part of them.
            input_shape: Height and width in pixels that the logits cover.

        Returns:
            ``loss_mask`` and, if there is one, ``loss_dice``, means over the instances of the batch.
        """
        count = sum(len(masks) for masks in logits)
        losses: dict[str, Any] = {}
        for masks, truth in zip(logits, targets, strict=True):
            if len(masks) == 0:
                continue
            height, width = truth.shape[-2:]
            masks = resize(masks, input_shape)[..., :height, :width]
            truth = truth.to(masks)
            parts = {'loss_mask': self.loss_mask(masks, truth, avg_factor=count * truth[0].numel())}
            if self.loss_dice is not None:
                parts['loss_dice'] = self.loss_dice(masks, truth, avg_factor=count)
            losses = {name: losses.get(name, 0) + part for name, part in parts.items()}
        return losses

    def zero_loss(self, logits: Tensor) -> dict[str, Tensor]:
        """Return losses of 0 that reach every parameter behind the logits."""
        names = ['loss_mask'] if self.loss_dice is None else ['loss_mask', 'loss_dice']
        # A sum of 0 * finite values; clamped, as one overflow would make it NaN.
        return {name: logits.float().clamp(-1, 1).sum() * 0 for name in names}
