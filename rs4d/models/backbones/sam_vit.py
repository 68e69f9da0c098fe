"""SAM's ViT image encoder, as the teacher of stage 1 and as a detection backbone.

Kirillov et al., "Segment Anything", ICCV 2023; the encoder is ViTDet's plain ViT (Li et al., ECCV
2022) with windowed and global attention and decomposed relative positions. The network is timm's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import timm
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from timm.layers import resample_abs_pos_embed_nhwc
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from .pretrained_weights import HUB_SCHEME, find_checkpoint, load_all, read_state_dict

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
_DOWNLOADS = 'https://github.com/facebookresearch/segment-anything#model-checkpoints'


@MODELS.register_module()
class SAMViT(BaseModule):
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
        checkpoint: Weights: the path of Meta's ``sam_vit_*.pth`` or of a file with timm's names,
            ``package://<import name>``, or ``timm://<model name>``, such as
            ``timm://samvit_base_patch16.sa1b``, to download through timm. They are loaded by
            :meth:`init_weights`, which MMEngine calls before training; a model whose weights come
            from a checkpoint of the whole run does not need the file.
        frozen: Train none of it and keep it in evaluation mode, whatever mode the detector is in.
        with_cp: Activation checkpointing: each block is run again in the backward pass.
        init_cfg: MMEngine's initialisation.

    Attributes:
        embed_dims: Channels of the last map.
        patch_size: Stride of the maps in pixels.

    Raises:
        ValueError: If an argument is not one of the choices above.
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
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.arch = arch
        self.checkpoint = checkpoint
        self.frozen = frozen
        self.patch_size = 16
        settings = _architecture(arch)
        depth, neck_dims = settings['num_layers'], settings.get('neck_dims', 256)
        if img_size % self.patch_size:
            raise ValueError(
                f'SAMViT: img_size={img_size} is not a multiple of {self.patch_size}, the side of a '
                'patch. Choose one that is.'
            )
        self.out_indices = _block_indices(out_indices, depth)
        # SAM's; timm's default of 1e-5 is not what the weights were trained with.
        norm_layer: Any = partial(nn.LayerNorm, eps=1e-6)
        vit = VisionTransformerSAM(
            img_size=img_size,
            patch_size=self.patch_size,
            num_classes=0,
            embed_dim=settings['embed_dims'],
            depth=depth,
            num_heads=settings['num_heads'],
            norm_layer=norm_layer,
            use_rel_pos=True,
            window_size=settings.get('window_size', 14),
            global_attn_indexes=tuple(settings['global_attn_indexes']),
            neck_chans=neck_dims,
        )
        self.vit = cast(Any, vit)
        self.vit.set_grad_checkpointing(with_cp)
        self.with_embedding = with_embedding or self.out_indices is None
        if self.with_embedding:
            self.embed_dims = neck_dims
        else:
            assert self.out_indices is not None
            self.embed_dims = settings['embed_dims']
            # What is not run has no gradient, and no place in checkpoints.
            self.vit.blocks = self.vit.blocks[: self.out_indices[-1] + 1]
            self.vit.neck = nn.Identity()
        if frozen:
            self.requires_grad_(False)
            self.train(False)

    def train(self, mode: bool = True) -> 'SAMViT':
        """Set the mode, which a frozen encoder does not leave.

        Args:
            mode: True to train.

        Returns:
            The encoder itself.
        """
        return super().train(mode and not self.frozen)

    def init_weights(self) -> None:
        """Apply ``init_cfg``, then load ``checkpoint``.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is of another size, or no such checkpoint.
        """
        super().init_weights()
        if self.checkpoint is not None:
            state_dict = self._resize_positions(self._read_checkpoint(self.checkpoint))
            load_all(self.vit, state_dict, self.checkpoint, _size_hint(state_dict, self.arch))

    def forward(self, img: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images.

        Args:
            img: RGB, (B, 3, H, W), H and W multiples of 16.

        Returns:
            SAM's embedding (B, 256, H/16, W/16) alone; or one map (B, C, H/16, W/16) for each of
            ``out_indices``, C the width of the blocks, and the embedding behind them if that was
            asked for.

        Raises:
            ValueError: If a side is not a multiple of 16.
        """
        height, width = img.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'SAMViT cuts its input into patches of {self.patch_size}x{self.patch_size} pixels, '
                f'but got height {height} and width {width}. Choose a scale or padding in the config '
                f'that makes both multiples of {self.patch_size}, such as '
                f'pad_size_divisor={self.patch_size} in the data_preprocessor.'
            )
        if self.out_indices is None:
            return (self.vit.forward_features(img),)
        indices = list(self.out_indices)
        if self.with_embedding:
            embedding, maps = self.vit.forward_intermediates(img, indices=indices)
            return (*maps, embedding)
        return tuple(self.vit.forward_intermediates(img, indices=indices, intermediates_only=True))

    def _read_checkpoint(self, checkpoint: str) -> dict[str, Tensor]:
        if checkpoint.startswith(HUB_SCHEME):
            name = checkpoint.removeprefix(HUB_SCHEME)
            return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        file = _OFFICIAL_FILES.get(self.arch) if isinstance(self.arch, str) else None
        remedy = (
            f'SAMViT(arch={self.arch!r}) expects SAM weights as Meta released them'
            f'{f", {file}" if file else ""} (see {_DOWNLOADS}). Put the file there, set the '
            "environment variable RS4D_DATA_ROOT, or set the encoder's checkpoint in the config."
        )
        return _to_timm_names(read_state_dict(find_checkpoint(checkpoint, remedy)))

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


def _to_timm_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the image encoder of Meta's checkpoint; a file with timm's names passes unchanged."""
    prefix = 'image_encoder.'
    if not any(key.startswith(prefix) for key in state_dict):
        return state_dict
    return {
        key.removeprefix(prefix).replace('.mlp.lin', '.mlp.fc'): value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }


def _size_hint(state_dict: dict[str, Tensor], arch: str | dict[str, Any]) -> str:
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
    return 'Give a checkpoint of this architecture.'


def _architecture(arch: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(arch, str):
        if arch not in ARCHITECTURES:
            raise ValueError(
                f'SAMViT: unknown arch {arch!r}. Choose one of {", ".join(ARCHITECTURES)}, or give a '
                'dict with embed_dims, num_layers, num_heads and global_attn_indexes.'
            )
        return ARCHITECTURES[arch]
    required = set(ARCHITECTURES['base'])
    optional = {'window_size', 'neck_dims'}
    missing, unknown = required - arch.keys(), arch.keys() - required - optional
    if missing or unknown:
        raise ValueError(
            f'SAMViT: the dict arch={arch} lacks {sorted(missing)} and has the unknown keys '
            f'{sorted(unknown)}. It needs {sorted(required)} and may have {sorted(optional)}.'
        )
    return arch


def _block_indices(
    out_indices: Sequence[int] | int | None, num_layers: int
) -> tuple[int, ...] | None:
    if out_indices is None:
        return None
    indices = (out_indices,) if isinstance(out_indices, int) else tuple(out_indices)
    if not indices or any(not -num_layers <= index < num_layers for index in indices):
        raise ValueError(
            f'SAMViT: out_indices={out_indices} should name blocks from 0 to {num_layers - 1}, or '
            'negative numbers from the end; None gives the embedding after the neck.'
        )
    return tuple(sorted({index % num_layers for index in indices}))
