"""SAM's mask decoder with its positional embedding, over an embedding of any size."""

from typing import Any, NamedTuple

import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as run_again_in_backward

from rs4d.checkpoints import load_all
from rs4d.errors import ConfigError

from .mask_upsampling import resize
from .sam_decoder_weights import read_decoder_weights
from .shared_decoding import SharedDecoding

EMBED_DIMS = 256


class DensePrompt(NamedTuple):
    """What instances add to the embedding, cell by cell: shares of a few vectors.

    Attributes:
        shares: How much of each vector each instance adds to each cell (N, R, h, w).
        marks: The vectors (R, 256). No view of a parameter: without gradients, PyTorch's counter of
            operations takes none among a module's inputs.
        base: A vector (256,) that all add everywhere in the place of SAM's for a prompt without a mask;
            None for that one.
    """

    shares: Tensor
    marks: Tensor
    base: Tensor | None = None


@MODELS.register_module()
class SAMMaskDecoder(BaseModule):
    """The decoder of SAM for one mask a prompt.

    Kirillov et al., "Segment Anything", ICCV 2023, section 3 and appendix A. The parameters are
    those of ``transformers``' ``SamMaskDecoder``; :class:`SharedDecoding` runs them. Positions are
    computed for the embedding at hand, so that 1024x1024 images are not special.

    Of SAM's four masks only the first, the one for unambiguous prompts, is asked for. The MLPs of the
    other three and the head that estimates a mask's quality have no part in it: they are kept, so that
    SAM's checkpoints fit, and never trained.

    Args:
        checkpoint: Weights: the path of Meta's ``sam_vit_*.pth`` or of a folder that ``transformers``
            wrote. They are loaded by :meth:`init_weights`, which MMEngine calls before training; a
            model whose weights come from a checkpoint of the whole run does not need the file. None
            leaves random weights.
        frozen: Train none of the decoder. Gradients pass through it to prompts and embedding.
        with_cp: Activation checkpointing: the decoder is run again in the backward pass.
        mask_prompt: Have SAM's layers that make a dense prompt of a mask, for :meth:`encode_masks`.
            SAM's vector for a prompt without a mask has no part then, and is not trained.
        init_cfg: MMEngine's initialisation.

    Attributes:
        embed_dims: Width of prompts, embedding and positions: 256.
    """

    embed_dims = EMBED_DIMS

    def __init__(
        self,
        checkpoint: str | None = None,
        frozen: bool = False,
        with_cp: bool = False,
        mask_prompt: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        # Importing transformers' models takes seconds, which only who builds this head should pay.
        from transformers import SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig
        from transformers.models.sam.modeling_sam import (
            SamMaskDecoder,
            SamMaskEmbedding,
            SamPositionalEmbedding,
        )

        self.checkpoint, self.frozen, self.with_cp = checkpoint, frozen, with_cp
        config = SamMaskDecoderConfig()
        config._attn_implementation = 'sdpa'
        self.decoder: Any = SamMaskDecoder(config)
        # A scale of 1 is SAM's own initialisation; transformers' default suits loaded weights only.
        positions: Any = SamVisionConfig(num_pos_feats=EMBED_DIMS // 2)
        positions.scale = 1.0
        self.positional_embedding: Any = SamPositionalEmbedding(positions)
        self.no_mask_embed = nn.Embedding(1, EMBED_DIMS)
        self.mask_embed: Any = SamMaskEmbedding(SamPromptEncoderConfig()) if mask_prompt else None
        # Fixed in SAM, too: random frequencies.
        self.positional_embedding.requires_grad_(False)
        self.decoder.iou_prediction_head.requires_grad_(False)
        self.decoder.output_hypernetworks_mlps[1:].requires_grad_(False)
        self.no_mask_embed.requires_grad_(not mask_prompt)
        if frozen:
            self.requires_grad_(False)

    def init_weights(self) -> None:
        """Apply ``init_cfg``, then load ``checkpoint``; a second call does nothing.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is no whole SAM, or of another shape.
        """
        if self.is_init:
            return
        super().init_weights()
        if self.checkpoint is not None:
            load_all(
                self,
                read_decoder_weights(self.checkpoint, self.mask_prompt),
                self.checkpoint,
                hint="SAM's decoder is the same in ViT-B, ViT-L and ViT-H; give one of Meta's "
                'sam_vit_*.pth or a folder that transformers wrote for SamModel.',
            )

    @property
    def mask_prompt(self) -> bool:
        """Whether it has SAM's layers that make a prompt of a mask."""
        return self.mask_embed is not None

    def encode_points(self, points: Tensor) -> Tensor:
        """Give points SAM's positional code.

        Args:
            points: x and y (..., 2) as fractions of the input's width and height.

        Returns:
            Codes (..., 256), float32.
        """
        # Half precision cannot hold the phases: frequencies reach several turns over the image.
        with torch.autocast(points.device.type, enabled=False):
            return self.positional_embedding(points.float())

    def encode_masks(self, masks: Tensor, shape: tuple[int, int]) -> DensePrompt:
        """Make masks prompts, as SAM does: two strided convolutions, then a 1x1 one.

        That last one is left to the decoder, which gets its 16 inputs and its weights.

        Args:
            masks: Logits (N, H, W) of any size.
            shape: Height and width of the embedding.

        Returns:
            A prompt for each mask.

        Raises:
            ConfigError: The decoder was built without ``mask_prompt``.
        """
        embed = self.mask_embed
        if embed is None:
            raise ConfigError('SAMMaskDecoder takes masks as prompts with mask_prompt=True only.')
        x = resize(masks, (4 * shape[0], 4 * shape[1]))[:, None]
        x = embed.activation(embed.layer_norm1(embed.conv1(x)))
        x = embed.activation(embed.layer_norm2(embed.conv2(x)))
        return DensePrompt(x, embed.conv3.weight[..., 0, 0].T.clone(), embed.conv3.bias)

    def image_positions(self, height: int, width: int) -> Tensor:
        """Give every cell of an embedding the code of its centre: (1, 256, height, width)."""
        device = self.no_mask_embed.weight.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1)
        return self.encode_points(grid).permute(2, 0, 1)[None]

    def forward(
        self,
        tokens: Tensor,
        embedding: Tensor,
        image_ids: Tensor,
        dense: DensePrompt | None = None,
        windows: Tensor | None = None,
    ) -> Tensor:
        """Decode one mask for each instance.

        Maps are computed in autocast's type, tokens in that of the parameters.

        Args:
            tokens: Prompts (N, T, 256).
            embedding: The encoder's maps (B, 256, h, w).
            image_ids: The image of each instance, integers (N,) from 0 to B-1.
            dense: What each instance adds to the embedding, or None.
            windows: Left, top, right and bottom of what is wanted of each mask, in cells of the
                embedding (N, 4); None for all.

        Returns:
            Logits (N, 4h, 4w), -100 outside of windows.
        """
        args = tokens, embedding, image_ids, dense, windows
        if self.with_cp and torch.is_grad_enabled():
            logits = run_again_in_backward(self._decode, *args, use_reentrant=False)
            assert isinstance(logits, Tensor)
            return logits
        return self._decode(*args)

    def _decode(
        self,
        tokens: Tensor,
        embedding: Tensor,
        image_ids: Tensor,
        dense: DensePrompt | None,
        windows: Tensor | None,
    ) -> Tensor:
        height, width = embedding.shape[-2:]
        device, dtype = embedding.device.type, embedding.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        masks = [embedding.new_empty((0, 4 * height, 4 * width), dtype=dtype)]
        order = [image_ids[:0]]
        shares, marks, base = (None, None, None) if dense is None else dense
        if base is None:
            base = self.no_mask_embed.weight[0]
        with torch.autocast(device, enabled=False):
            positions = self.image_positions(height, width)[0]
            maps = (embedding + base[:, None, None]).to(dtype)
            for image, image_map in enumerate(maps):
                chosen = (image_ids == image).nonzero()[:, 0]
                if len(chosen) == 0:
                    continue
                own = (None if x is None else x[chosen] for x in (shares, windows))
                share = SharedDecoding(self.decoder, image_map, positions, marks)
                order.append(chosen)
                masks.append(share(tokens[chosen], *own))
        return torch.cat(masks)[torch.cat(order).argsort()]


def embedding_projection(channels: int, norm_cfg: dict[str, Any]) -> nn.Module:
    """Make what brings an embedding to the decoder's 256 channels; nothing if it has them."""
    if channels == EMBED_DIMS:
        return nn.Identity()
    return ConvModule(channels, EMBED_DIMS, 1, norm_cfg=norm_cfg, act_cfg=None)
