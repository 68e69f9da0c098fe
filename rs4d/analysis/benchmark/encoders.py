"""The encoders that the benchmark compares, by name."""

from collections.abc import Callable

import timm
from torch import nn

from rs4d.errors import ConfigError
from rs4d.models.backbones import RSMamba

from .peers import HuggingFaceRSMamba

# One block of RSMamba-base, for peers whose training step does not fit into memory as a whole.
ONE_BLOCK = dict(embed_dims=256, num_layers=1, inner_dims=512)


def _rsmamba(arch: str | dict[str, int]) -> Callable[[int], nn.Module]:
    return lambda side: RSMamba(arch, img_size=side)


def _hugging_face(arch: str | dict[str, int]) -> Callable[[int], nn.Module]:
    return lambda side: HuggingFaceRSMamba(RSMamba(arch, img_size=side))


def _sam(size: str) -> Callable[[int], nn.Module]:
    return lambda side: timm.create_model(
        f'samvit_{size}_patch16', pretrained=False, num_classes=0, img_size=side
    )


def _resnet(side: int) -> nn.Module:
    return timm.create_model('resnet50', pretrained=False, features_only=True)


ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    'rsmamba-small': _rsmamba('small'),
    'rsmamba-base': _rsmamba('base'),
    'rsmamba-large': _rsmamba('large'),
    'rsmamba-huge': _rsmamba('huge'),
    'rsmamba-base-huggingface': _hugging_face('base'),
    'rsmamba-block': _rsmamba(ONE_BLOCK),
    'rsmamba-block-huggingface': _hugging_face(ONE_BLOCK),
    'sam-vit-b': _sam('base'),
    'sam-vit-l': _sam('large'),
    'sam-vit-h': _sam('huge'),
    'resnet-50': _resnet,
}


def build_encoder(name: str, side: int) -> nn.Module:
    """Build an encoder with random weights.

    Args:
        name: A key of ``ENCODERS``.
        side: Height and width of the input in pixels; position embeddings are made for it.

    Returns:
        The module; it maps (B, 3, side, side) to one map or several.

    Raises:
        ConfigError: If there is no encoder of that name.
    """
    if name not in ENCODERS:
        raise ConfigError(f"There is no encoder '{name}'. Choose from {', '.join(ENCODERS)}.")
    return ENCODERS[name](side)
