"""Do the parts of a detector agree on how many bands and maps there are, how wide and of which strides?

Where they do not, anchors and RoIs lie elsewhere than the objects, and a training runs without a
word.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mmdet.models.necks import FPN
from mmengine.model import is_model_wrapper
from torch import nn

from rs4d.errors import ConfigError
from rs4d.models.backbones import Encoder
from rs4d.models.backbones.encoder import input_bands
from rs4d.models.data_preprocessor import BandsDataPreprocessor
from rs4d.models.detectors import PromptMaskRCNN, PromptQueryDetector
from rs4d.models.necks import LightFPN, RSFeatureAggregator, SimpleFPN


class Maps(NamedTuple):
    """What one part hands to the next, finest map first.

    Attributes:
        owner: The part, for messages.
        channels: Channels of each map.
        strides: Stride of each map in pixels.
    """

    owner: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]


def check_parts(model: Any) -> None:
    """Compare what an encoder gives with what neck and heads were told.

    Args:
        model: A detector, or another model, of which nothing is asked. An encoder that is no
            `Encoder` and a neck that is neither ours nor MMDetection's ``FPN`` are not looked at.

    Raises:
        ConfigError: Bands, channels, strides or the number of maps differ.
    """
    if is_model_wrapper(model):
        model = model.module
    encoder = getattr(model, 'backbone', None)
    _check_bands(getattr(model, 'data_preprocessor', None), encoder)
    maps: Maps | None = None
    if isinstance(encoder, Encoder):
        owner = f'model.backbone ({type(encoder).__name__})'
        maps = Maps(owner, encoder.map_channels, encoder.map_strides)
    embedding = maps
    neck = getattr(model, 'neck', None)
    parts = [('neck', neck)] if neck is not None else []
    if isinstance(neck, nn.Sequential):
        parts = [(f'neck[{index}]', part) for index, part in enumerate(neck)]
    for name, part in parts:
        maps = _through(f'model.{name}', part, maps)
    for name, module in model.named_modules():
        if maps is not None:
            _check_head(f'model.{name}', module, maps)
        if hasattr(module, 'embedding_channels'):
            handed_over = isinstance(model, PromptMaskRCNN | PromptQueryDetector)
            found = embedding if handed_over else maps
            roi_head: Any = model.get_submodule(name.rpartition('.')[0])
            level = -1 if handed_over else roi_head.embedding_level
            if found is not None:
                _require(
                    f'model.{name}.embedding_channels',
                    module.embedding_channels,
                    found.channels[level],
                    f'the map that {found.owner} gives for it has {{}} channels',
                )


def _check_bands(preprocessor: Any, encoder: Any) -> None:
    """Compare the bands that are normalised with those that the encoder takes."""
    if isinstance(preprocessor, BandsDataPreprocessor) and isinstance(encoder, nn.Module):
        takes = input_bands(encoder)
        if takes is not None and takes != preprocessor.num_bands:
            raise ConfigError(
                f'The config contradicts itself: model.data_preprocessor normalises '
                f'{preprocessor.num_bands} bands, and model.backbone takes {takes}. Set '
                f'model.backbone.in_channels={preprocessor.num_bands}, or correct mean and std.'
            )


def _through(name: str, neck: Any, maps: Maps | None) -> Maps | None:
    """Check what goes into a neck, and say what comes out of it, if that is known."""
    owner = f'{name} ({type(neck).__name__})'
    if isinstance(neck, RSFeatureAggregator):
        if maps is None:
            return None
        maps = _chosen(owner, neck.in_indices, maps)
        _require(f'{owner}: in_channels', neck.in_channels, maps.channels, _widths(maps))
        if len(set(maps.strides)) > 1:
            raise ConfigError(
                f'{owner} fuses maps of one resolution, but those of {maps.owner} have the strides '
                f'{maps.strides}. Choose levels of one stride, or another neck.'
            )
        return Maps(owner, (neck.out_channels,), maps.strides[:1])
    if isinstance(neck, SimpleFPN):
        if maps is not None:
            _require(f'{owner}: in_channels', (neck.in_channels,), maps.channels, _widths(maps))
            said = f'the map of {maps.owner} has stride {{}}'
            _require(f'{owner}: in_stride', neck.in_stride, maps.strides[0], said)
        return Maps(owner, (neck.out_channels,) * len(neck.out_strides), neck.out_strides)
    if isinstance(neck, LightFPN):
        if maps is not None:
            _require(f'{owner}: in_channels', neck.in_channels, maps.channels, _widths(maps))
            said = f'the maps of {maps.owner} have the strides {{}}'
            _require(f'{owner}: in_strides', neck.in_strides, maps.strides, said)
        return Maps(owner, (neck.out_channels,) * len(neck.out_strides), neck.out_strides)
    if isinstance(neck, FPN) and maps is not None:
        _require(f'{owner}: in_channels', tuple(neck.in_channels), maps.channels, _widths(maps))
        strides = list(maps.strides[neck.start_level : neck.backbone_end_level])
        while len(strides) < neck.num_outs:
            strides.append(strides[-1] * 2)
        return Maps(owner, (neck.out_channels,) * neck.num_outs, tuple(strides))
    return None


def _chosen(owner: str, indices: Sequence[int] | None, maps: Maps) -> Maps:
    if indices is None:
        return maps
    if max(indices) >= len(maps.channels):
        raise ConfigError(
            f'{owner}: in_indices={indices}, but {maps.owner} gives {len(maps.channels)} maps. Make '
            "in_indices agree with the backbone's out_indices."
        )
    channels, strides = (tuple(values[i] for i in indices) for values in maps[1:])
    return Maps(maps.owner, channels, strides)


def _check_head(name: str, module: Any, maps: Maps) -> None:
    """Compare what a head or a RoI extractor states with its maps."""
    said = f'the maps of {maps.owner} have the strides {{}}'
    if hasattr(module, 'featmap_strides'):
        # The finest levels alone.
        stated = tuple(module.featmap_strides)
        _require(f'{name}.featmap_strides', stated, maps.strides[: len(stated)], said)
        _require(f'{name}.out_channels', module.out_channels, maps.channels[0], _widths(maps))
    elif hasattr(module, 'prior_generator'):
        stated = tuple(s if isinstance(s, int) else s[0] for s in module.prior_generator.strides)
        # CondInst's masks have the points of the finest level.
        dense = hasattr(module, 'num_classes')
        wanted = maps.strides if dense else maps.strides[: len(stated)]
        _require(f'{name}: strides', stated, wanted, said)
        if dense:
            _require(f'{name}.in_channels', module.in_channels, maps.channels[0], _widths(maps))
    elif hasattr(module, 'num_grids') and hasattr(module, 'strides'):
        # SOLO halves its first map and brings the last one to the size of the one before.
        first, *inner, _ = maps.strides
        said = f'{said.format(maps.strides)}, which SOLO brings to {{}}'
        _require(f'{name}.strides', tuple(module.strides), (2 * first, *inner, inner[-1]), said)
        _require(f'{name}.in_channels', module.in_channels, maps.channels[0], _widths(maps))
    elif hasattr(module, 'point_generator') and hasattr(module, 'input_convs'):
        _require(f'{name}.strides', tuple(module.strides), maps.strides, said)
        convs = [*reversed(module.lateral_convs), *reversed(module.input_convs)]
        stated = tuple(conv.conv.in_channels for conv in convs)
        _require(f'{name}: in_channels', stated, maps.channels, _widths(maps))


def _widths(maps: Maps) -> str:
    return f'the maps of {maps.owner} have {{}} channels'


def _require(what: str, stated: Any, true: Any, said: str) -> None:
    if stated != true:
        raise ConfigError(
            f'The config contradicts itself: {what} is {stated}, but {said.format(true)}. Make them '
            'agree.'
        )
