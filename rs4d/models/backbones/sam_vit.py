"""SAM's ViT image encoder, as the teacher of stage 1 and as a detection backbone.

Kirillov et al., "Segment Anything", ICCV 2023; the encoder is ViTDet's plain ViT (Li et al., ECCV
2022) with windowed and global attention and decomposed relative positions. The network is timm's.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import timm
import torch.nn.functional as F
from mmdet.registry import MODELS
from timm.layers import resample_abs_pos_embed_nhwc
from timm.models import vision_transformer_sam as timm_sam
from torch import Tensor, nn

from rs4d.checkpoints import additions_to_sam, load_all, part_of, read_weights
from rs4d.errors import ConfigError

from .encoder import Encoder, block_indices, choose_architecture
from .timm_encoder import HUB_SCHEME

ARCHITECTURES: dict[str, dict[str, Any]] = {
    'base': dict(embed_dims=768, num_layers=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)),
    'large': dict(
        embed_dims=1024, num_layers=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)
    ),
    'huge': dict(embed_dims=1280, num_layers=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)),
}
_OFFICIAL_FILES = {
    'base': 'sam_vit_b_01ec64.pth',
    'large': 'sam_vit_l_0b3195.pth',
    'huge': 'sam_vit_h_4b8939.pth',
}
PATCH_SIZE = 16
# From transformers' names, below `vision_encoder.`, to Meta's.
_TRANSFORMERS_NAMES = (
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^layers\.', 'blocks.'),
    (r'^(blocks\.\d+)\.layer_norm(\d)\.', r'\1.norm\2.'),
    (r'^neck\.conv1\.', 'neck.0.'),
    (r'^neck\.layer_norm1\.', 'neck.1.'),
    (r'^neck\.conv2\.', 'neck.2.'),
    (r'^neck\.layer_norm2\.', 'neck.3.'),
)
_DOWNLOADS = 'https://github.com/facebookresearch/segment-anything#model-checkpoints'


@MODELS.register_module()
class SAMViT(Encoder):
    """SAM's image encoder with one resolution throughout.

    Any input whose sides are multiples of 16 will do: absolute and global relative positions are
    interpolated, and windows keep their 14x14 tokens.

    Args:
        arch: ``'base'``, ``'large'``, ``'huge'``, or a dict with ``embed_dims``, ``num_layers``,
            ``num_heads`` and ``global_attn_indexes``, and optionally ``window_size`` (14) and
            ``neck_dims`` (256).
        img_size: Side in pixels for which positions are stored. SAM's is 1024; a checkpoint's
            positions are interpolated to it once, instead of in every forward.
        out_indices: None for SAM's embedding, after its neck. Otherwise the blocks whose maps are
            returned, counted from 0, negative ones from the end; the neck and the blocks behind the
            last index are then left out of the model.
        with_embedding: Return SAM's embedding as one more map behind those of ``out_indices``, for a
            head that decodes over it; nothing is then left out of the model.
        checkpoint: Weights: the path of Meta's ``sam_vit_*.pth``, of a file or folder that
            ``transformers`` wrote, or of a file with timm's names, ``package://<import name>``, or
            ``timm://<model name>``, such as ``timm://samvit_base_patch16.sa1b``, to download. They
            are loaded by :meth:`init_weights`, which MMEngine calls before training; a model whose
            weights come from a checkpoint of the whole run does not need the file.
        frozen: Train none of it and keep it in evaluation mode, whatever mode the detector is in.
        with_cp: Activation checkpointing: each block is run again in the backward pass.
        in_channels: Channels of the image; SAM's weights, for three, are inflated to as many.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If an argument is not one of the choices above.
    """

    def __init__(
        self,
        arch: str | dict[str, Any] = 'base',
        img_size: int = 1024,
        out_indices: Sequence[int] | int | None = None,
        with_embedding: bool = False,
        checkpoint: str | None = None,
        frozen: bool = False,
        with_cp: bool = False,
        in_channels: int = 3,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.arch = arch
        self.checkpoint = checkpoint
        self.frozen = frozen
        settings = choose_architecture('SAMViT', arch, ARCHITECTURES, ('window_size', 'neck_dims'))
        embed_dims, depth = settings['embed_dims'], settings['num_layers']
        neck_dims = settings.setdefault('neck_dims', 256)
        if img_size % PATCH_SIZE:
            raise ConfigError(
                f'SAMViT: img_size={img_size} is not a multiple of {PATCH_SIZE}, the side of a '
                'patch. Choose one that is.'
            )
        self.out_indices = ()
        if out_indices is not None:
            self.out_indices = block_indices('SAMViT', out_indices, depth)
        self.with_embedding = with_embedding or not self.out_indices
        self.vit = cast(Any, _network(settings, img_size, in_channels))
        self._names = set(self.vit.state_dict())
        self.vit.set_grad_checkpointing(with_cp)
        if not self.with_embedding:
            # What is not run has no gradient, and no place in checkpoints.
            self.vit.blocks = self.vit.blocks[: self.out_indices[-1] + 1]
            self.vit.neck = nn.Identity()
        self.block_channels = (embed_dims,) * len(self.vit.blocks)
        embedding = (neck_dims,) if self.with_embedding else ()
        self.map_channels = (embed_dims,) * len(self.out_indices) + embedding
        self.map_strides = (PATCH_SIZE,) * len(self.map_channels)
        self.size_divisor = PATCH_SIZE
        if frozen:
            self.requires_grad_(False)
            self.train(False)

    def train(self, mode: bool = True) -> 'SAMViT':
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Load the image encoder of a SAM.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is of another size, no such checkpoint, or of a network
                with more in it than SAM has.
        """
        if checkpoint.startswith(HUB_SCHEME):
            name = checkpoint.removeprefix(HUB_SCHEME)
            weights = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        else:
            file = _OFFICIAL_FILES.get(self.arch) if isinstance(self.arch, str) else None
            remedy = (
                f'SAMViT(arch={self.arch!r}) expects SAM weights as Meta released them'
                f'{f", {file}" if file else ""} (see {_DOWNLOADS}). Put the file there, set the '
                "environment variable RS4D_DATA_ROOT, or set the encoder's checkpoint in the config."
            )
            weights = checkpoint_filter_fn(read_weights(checkpoint, remedy))
        weights = self._resize_positions(weights)
        load_all(self.vit, weights, checkpoint, self._names, _hint(weights, self.arch))

    def forward_intermediates(
        self, img: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode images; the last map is SAM's embedding, or the last block's without a neck."""
        self.require_size(*img.shape[-2:])
        # timm takes an empty list for all blocks.
        embedding, maps = self.vit.forward_intermediates(img, indices=list(indices) or [0])
        return embedding, maps if indices else []

    def _resize_positions(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate positions that were stored for another input size, as a forward would."""
        resized = dict(state_dict)
        for name, wanted in self.vit.state_dict().items():
            value = resized.get(name)
            if value is None or value.shape == wanted.shape or value.shape[-1] != wanted.shape[-1]:
                continue
            if name == 'pos_embed':
                resized[name] = resample_abs_pos_embed_nhwc(value, list(wanted.shape[1:3]))
            elif name.endswith(('rel_pos_h', 'rel_pos_w')):
                resized[name] = F.interpolate(value.T[None], size=len(wanted), mode='linear')[0].T
        return resized


def checkpoint_filter_fn(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the image encoder of a SAM timm's names.

    Args:
        state_dict: Weights as Meta, ``transformers`` or timm names them, in whatever wrappers.

    Returns:
        Every weight of the image encoder, and what SAM does not have, there and beside its parts, with
        the names it came with.
    """
    encoder = part_of(state_dict, 'image_encoder')
    if not encoder:
        encoder = part_of(state_dict, 'vision_encoder')
        for theirs, ours in _TRANSFORMERS_NAMES:
            encoder = {re.sub(theirs, ours, name): value for name, value in encoder.items()}
    if not encoder:
        return state_dict
    official = {f'image_encoder.{name}': value for name, value in encoder.items()}
    return additions_to_sam(state_dict) | timm_sam.checkpoint_filter_fn(official, None)


def _network(settings: dict[str, Any], img_size: int, in_channels: int) -> nn.Module:
    # SAM's; timm's default of 1e-5 is not what the weights were trained with.
    norm_layer: Any = partial(nn.LayerNorm, eps=1e-6)
    return timm_sam.VisionTransformerSAM(
        img_size=img_size,
        patch_size=PATCH_SIZE,
        in_chans=in_channels,
        num_classes=0,
        embed_dim=settings['embed_dims'],
        depth=settings['num_layers'],
        num_heads=settings['num_heads'],
        norm_layer=norm_layer,
        use_rel_pos=True,
        window_size=settings.get('window_size', 14),
        global_attn_indexes=tuple(settings['global_attn_indexes']),
        neck_chans=settings['neck_dims'],
    )


def _hint(state_dict: dict[str, Tensor], arch: str | dict[str, Any]) -> str:
    pos_embed = state_dict.get('pos_embed')
    if pos_embed is None:
        return (
            'It has no image_encoder.pos_embed, so it is no checkpoint of SAM. Give one of '
            f'{", ".join(_OFFICIAL_FILES.values())}.'
        )
    for name, settings in ARCHITECTURES.items():
        if settings['embed_dims'] == pos_embed.shape[-1] and name != arch:
            return (
                f"The file holds SAM's ViT {name} and the config asks for arch={arch!r}. Set "
                f"arch='{name}' or give the checkpoint of {arch!r}."
            )
    return (
        'Give a checkpoint of this architecture: adapters, LoRA and other additions are not part of '
        "SAM's encoder, which would compute something else without them."
    )
