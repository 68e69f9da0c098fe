"""The encoders that the benchmark compares, by name, and the step that is timed."""

from collections.abc import Callable
from functools import partial

import timm
import torch
from torch import Tensor, nn

from rs4d.errors import ConfigError
from rs4d.models.backbones import RSMamba

from .peers import HuggingFaceRSMamba

# One block of RSMamba-base, for peers whose training step does not fit into memory as a whole.
ONE_BLOCK = dict(embed_dims=256, num_layers=1, inner_dims=512)


def _hugging_face(arch: str | dict[str, int], img_size: int) -> nn.Module:
    return HuggingFaceRSMamba(RSMamba(arch, img_size=img_size))


def _sam(size: str, img_size: int) -> nn.Module:
    return timm.create_model(f'samvit_{size}_patch16', num_classes=0, img_size=img_size)


def _resnet(img_size: int) -> nn.Module:
    return timm.create_model('resnet50', features_only=True)


ENCODERS: dict[str, Callable[..., nn.Module]] = {
    'rsmamba-small': partial(RSMamba, 'small'),
    'rsmamba-base': partial(RSMamba, 'base'),
    'rsmamba-large': partial(RSMamba, 'large'),
    'rsmamba-huge': partial(RSMamba, 'huge'),
    'rsmamba-base-huggingface': partial(_hugging_face, 'base'),
    'rsmamba-block': partial(RSMamba, ONE_BLOCK),
    'rsmamba-block-huggingface': partial(_hugging_face, ONE_BLOCK),
    'sam-vit-b': partial(_sam, 'base'),
    'sam-vit-l': partial(_sam, 'large'),
    'sam-vit-h': partial(_sam, 'huge'),
    'resnet-50': _resnet,
}


def build_encoder(name: str, side: int, with_cp: bool = False) -> nn.Module:
    """Build an encoder with random weights, which maps (B, 3, side, side) to one map or several.

    Args:
        name: A key of ``ENCODERS``.
        side: Height and width of the input in pixels; position embeddings are made for it.
        with_cp: Activation checkpointing, where the encoder has it.

    Raises:
        ConfigError: There is no encoder of that name.
    """
    if name not in ENCODERS:
        raise ConfigError(f"There is no encoder '{name}'. Choose from {', '.join(ENCODERS)}.")
    encoder = ENCODERS[name](img_size=side)
    if isinstance(encoder, RSMamba):
        encoder.with_cp = with_cp
    return encoder


def make_step(model: nn.Module, side: int, training: bool) -> Callable[[], None]:
    """Make a function that takes one step of an encoder with one image of side x side pixels.

    A training step is the forward and the backward pass; the optimiser is left out, since its time
    depends on the number of parameters alone.
    """
    torch.manual_seed(0)
    img = torch.randn(1, 3, side, side, device=next(model.parameters()).device)
    model.train(training)

    def infer() -> None:
        with torch.inference_mode():
            model(img)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        out = model(img)
        maps = [out] if isinstance(out, Tensor) else out
        torch.stack([x.square().mean() for x in maps]).sum().backward()

    return train if training else infer
