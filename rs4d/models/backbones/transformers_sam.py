"""The image encoders of SAM 2 and SAM 3 with their necks, as teachers of stage 1.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714; Carion et al., "SAM 3:
Segment Anything with Concepts", arXiv 2511.16719. The networks are those of ``transformers``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mmdet.registry import MODELS
from torch import Tensor, nn

from rs4d.checkpoints import load_all, part_of, read_weights
from rs4d.errors import ConfigError, InputSizeError

from .encoder import Encoder

_SAM2 = 'sam2_hiera_det_model'
_SAM3 = 'sam3_vit_model'
# By the names of transformers; what is not said is as in its defaults, which are SAM 2's tiny and SAM 3.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    'sam2-tiny': dict(model_type=_SAM2),
    'sam2-small': dict(
        model_type=_SAM2, blocks_per_stage=[1, 2, 11, 2], global_attention_blocks=[7, 10, 13]
    ),
    'sam2-base-plus': dict(
        model_type=_SAM2,
        hidden_size=112,
        num_attention_heads=2,
        blocks_per_stage=[2, 3, 16, 3],
        embed_dim_per_stage=[112, 224, 448, 896],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        global_attention_blocks=[12, 16, 20],
        window_positional_embedding_background_size=[14, 14],
    ),
    'sam2-large': dict(
        model_type=_SAM2,
        hidden_size=144,
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=[144, 288, 576, 1152],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
    ),
    'sam3': dict(model_type=_SAM3),
}
# Where the image encoder lies in files of transformers and of Meta.
_PLACES = (
    'detector_model.vision_encoder',
    'vision_encoder',
    'image_encoder',
    'detector.backbone.vision_backbone',
    'backbone.vision_backbone',
)
# From Meta's names to those of transformers, below these places.
_SAM2_NAMES = (
    (r'^trunk\.patch_embed\.proj\.', 'backbone.patch_embed.projection.'),
    (r'^trunk\.', 'backbone.'),
    (r'\.norm(\d)\.', r'.layer_norm\1.'),
    (r'\.mlp\.layers\.0\.', '.mlp.proj_in.'),
    (r'\.mlp\.layers\.1\.', '.mlp.proj_out.'),
    (r'^neck\.convs\.(\d)\.conv\.', r'neck.convs.\1.'),
)
_SAM3_NAMES = (
    (r'^trunk\.patch_embed\.proj\.', 'backbone.embeddings.patch_embeddings.projection.'),
    (r'^trunk\.pos_embed$', 'backbone.embeddings.position_embeddings'),
    (r'^trunk\.ln_pre\.', 'backbone.layer_norm.'),
    (r'^trunk\.blocks\.', 'backbone.layers.'),
    (r'\.norm(\d)\.', r'.layer_norm\1.'),
    (r'\.attn\.proj\.', '.attention.o_proj.'),
    (r'\.attn\.', '.attention.'),
    (r'^convs\.', 'neck.fpn_layers.'),
    (r'\.conv_1x1\.', '.proj1.'),
    (r'\.conv_3x3\.', '.proj2.'),
)
# What SAM 3's files have beside what makes the embedding: angles that are computed, the necks of the
# tracker, and the levels at other scales.
_SAM3_LEFT_OUT = re.compile(
    r'\.(freqs_cis|rope_embeddings)$|^sam2_convs\.|^neck\.fpn_layers\.[013]\.'
)


@MODELS.register_module()
class TransformersSAM(Encoder):
    """The image embedding of SAM 2 or SAM 3, which their mask decoders read: 256 channels.

    It is the last map and the only one. SAM 2's has stride 16, its Hiera's third and fourth stage
    through the neck; SAM 3's has stride 14, its ViT's last block through the neck. Images are
    normalised as the files were trained: SAM 2 with ImageNet's mean and standard deviation, SAM 3
    with 127.5 for both. As a teacher: parts of SAM 2's neck have no say in the embedding and would get
    no gradient.

    Args:
        arch: ``'sam2-tiny'``, ``'sam2-small'``, ``'sam2-base-plus'``, ``'sam2-large'`` (of SAM 2 and
            2.1), ``'sam3'``, or a dict with ``model_type`` (``'sam2_hiera_det_model'`` or
            ``'sam3_vit_model'``) and settings of the config that ``transformers`` has for it.
        img_size: Side in pixels of SAM 3's images, a multiple of 14: its rotary positions are laid
            out for one size, 1008 by default. SAM 2 takes images of any sides that are multiples of
            32.
        neck_dims: Channels of the embedding.
        checkpoint: Weights: Meta's file (``sam2.1_hiera_large.pt``, ``sam3.pt``), or a file or folder
            that ``transformers`` wrote, as on the Hugging Face Hub. Loaded by :meth:`init_weights`.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: An argument is not one of the choices above, or the installed ``transformers`` has
            no such network.
    """

    def __init__(
        self,
        arch: str | dict[str, Any] = 'sam2-large',
        img_size: int = 1008,
        neck_dims: int = 256,
        checkpoint: str | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.arch = arch
        self.checkpoint = checkpoint
        self.model = cast(Any, _network(arch, img_size, neck_dims))
        backbone: Any = self.model.config.backbone_config
        self.is_sam3 = backbone.model_type == _SAM3
        self.img_size = img_size
        stride = backbone.patch_size if self.is_sam3 else 16
        if self.is_sam3 and img_size % stride:
            raise ConfigError(
                f'TransformersSAM: img_size={img_size} is not a multiple of {stride}, the side of a '
                "patch of SAM 3. Choose one that is, and give the data set's images that size."
            )
        self.out_indices, self.block_channels = (), ()
        self.map_channels, self.map_strides = (neck_dims,), (stride,)
        self.with_embedding = True
        # Hiera lays its positions out in whole windows of patches of 4x4 pixels.
        self.size_divisor = stride if self.is_sam3 else 4 * backbone.window_size_per_stage[0]

    def load_checkpoint(self, checkpoint: str) -> None:
        """Load the image encoder of a SAM 2 or SAM 3.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is of another size or of something else.
        """
        remedy = (
            f'TransformersSAM(arch={self.arch!r}) reads the weights of '
            f'{"SAM 3" if self.is_sam3 else "SAM 2 or 2.1"} there. Put the file there, set the '
            "environment variable RS4D_DATA_ROOT, or set the encoder's checkpoint in the config."
        )
        weights = checkpoint_filter_fn(read_weights(checkpoint, remedy), self.model)
        hint = f'Give a checkpoint of {self.arch!r}, or choose the arch that the file is of.'
        load_all(self.model, weights, checkpoint, hint=hint)

    def forward_intermediates(
        self, img: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode images; there is the embedding alone, and no map of a block."""
        height, width = img.shape[-2:]
        self.require_size(height, width)
        if self.is_sam3 and (height, width) != (self.img_size, self.img_size):
            raise InputSizeError(
                f'TransformersSAM: SAM 3 was built for images of {self.img_size}x{self.img_size} '
                f'pixels and got {height}x{width}. Set img_size of the encoder to the size of the '
                "images, or the data set's image_size to its."
            )
        maps = self.model(img).fpn_hidden_states
        return maps[-1], []


def checkpoint_filter_fn(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Give the image encoder of a SAM 2 or SAM 3 the names of ``transformers``.

    Args:
        state_dict: Weights as Meta or ``transformers`` name them, in whatever wrappers.
        model: What :class:`TransformersSAM` holds.

    Returns:
        Every weight of the image encoder that the embedding may depend on; where there is no image
        encoder, the weights as they are.
    """
    encoder = next(filter(None, (part_of(state_dict, place) for place in _PLACES)), None)
    if encoder is None:
        return dict(state_dict)
    is_sam3 = cast(Any, model).config.backbone_config.model_type == _SAM3
    for theirs, ours in _SAM3_NAMES if is_sam3 else _SAM2_NAMES:
        encoder = {re.sub(theirs, ours, name): value for name, value in encoder.items()}
    return _one_level_of_sam3(encoder, model) if is_sam3 else encoder


def _one_level_of_sam3(encoder: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Take of SAM 3's names and shapes what its embedding is made of."""
    found: dict[str, Tensor] = {}
    wanted = model.state_dict()['backbone.embeddings.position_embeddings']
    for name, value in encoder.items():
        if _SAM3_LEFT_OUT.search(name):
            continue
        if '.attention.qkv.' in name:
            for part, piece in zip('qkv', value.chunk(3), strict=True):
                found[name.replace('.qkv.', f'.{part}_proj.')] = piece
            continue
        # Meta's file has the position of a class token in front, which the network does not use.
        if name.endswith('position_embeddings') and value.shape[1] == wanted.shape[1] + 1:
            value = value[:, 1:]
        found[name.replace('neck.fpn_layers.2.', 'neck.fpn_layers.0.')] = value
    return found


def _network(arch: str | dict[str, Any], img_size: int, neck_dims: int) -> nn.Module:
    if isinstance(arch, str) and arch not in ARCHITECTURES:
        raise ConfigError(
            f'TransformersSAM: unknown arch {arch!r}. Choose one of {", ".join(ARCHITECTURES)}, or '
            'give a dict with model_type and settings.'
        )
    settings = dict(ARCHITECTURES[arch] if isinstance(arch, str) else arch)
    model_type = settings.pop('model_type', None)
    if model_type not in (_SAM2, _SAM3):
        raise ConfigError(
            f'TransformersSAM: the dict arch has model_type={model_type!r}. It should be {_SAM2!r} or '
            f'{_SAM3!r}.'
        )
    # Importing transformers' models takes seconds, which only who builds this encoder should pay.
    import transformers

    prefix = 'Sam3' if model_type == _SAM3 else 'Sam2'
    if not hasattr(transformers, f'{prefix}VisionModel'):
        raise ConfigError(
            f'TransformersSAM: transformers {transformers.__version__} has no {prefix}VisionModel. '
            'Install a newer one: pip install -U "transformers<6"'
        )
    make = getattr(transformers, 'Sam3ViTConfig' if prefix == 'Sam3' else 'Sam2HieraDetConfig')
    unknown = [name for name in settings if not hasattr(make(), name)]
    if unknown:
        raise ConfigError(
            f'TransformersSAM: {make.__name__} of transformers has no {", ".join(unknown)}. Correct '
            'arch.'
        )
    neck: dict[str, Any] = dict(fpn_hidden_size=neck_dims)
    if prefix == 'Sam3':
        settings['image_size'] = img_size
        # The one level that is the embedding: that of the ViT's own scale.
        neck['scale_factors'] = [1.0]
    backbone = make(**settings)
    if prefix == 'Sam2':
        neck['backbone_channel_list'] = backbone.embed_dim_per_stage[::-1]
    config = getattr(transformers, f'{prefix}VisionConfig')(backbone_config=backbone, **neck)
    return getattr(transformers, f'{prefix}VisionModel')(config)
