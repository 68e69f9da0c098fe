"""The parts of a model that are exported: modules of tensors in, tensors out, with their names."""

import os
from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from rs4d.checkpoints.checks import check_checkpoint
from rs4d.errors import ConfigError
from rs4d.models.backbones.encoder import Encoder, input_bands

from .detectors import detector_part

PartName = Literal['encoder', 'encoder+neck', 'model']


class Part(nn.Module):
    """What is exported: normalises images, and does what its body does.

    Args:
        body: Takes normalised images (B, bands, H, W), and what else ``inputs`` names.
        inputs: Names of what ``forward`` takes.
        outputs: Names of what it returns.
        bands: How many bands an image has.
        divisor: What both sides of an image have to be multiples of.
        mean: Of each band, on the scale of the image, or None for images that are normalised.
        std: Standard deviation likewise.

    Attributes:
        dtype: The type in which the body computes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        bands: int,
        divisor: int,
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.bands, self.divisor = bands, divisor
        self.dtype = torch.float32
        zeros = torch.zeros(bands, 1, 1)
        self.register_buffer('mean', zeros if mean is None else mean.clone(), persistent=False)
        self.register_buffer('std', zeros + 1 if std is None else std.clone(), persistent=False)

    def forward(self, image: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Run the part.

        Args:
            image: (B, bands, H, W), float32, from 0 to 255, colours as red, green, blue.
            *others: As ``inputs`` names them.

        Returns:
            What ``outputs`` names, floating point numbers as float32.
        """
        found = self.body(((image - self.mean) / self.std).to(self.dtype), *others)
        return tuple(x.float() if x.is_floating_point() else x for x in found)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Have the body compute in another type; images come and results go in float32."""
        self.body.to(dtype)
        self.dtype = dtype

    def example(self, height: int, width: int, batch: int = 1) -> tuple[Tensor, ...]:
        """Return a random image, the same every time, and what else ``inputs`` names."""
        generator = torch.Generator().manual_seed(0)
        image = torch.rand(batch, self.bands, height, width, generator=generator) * 255
        return (image, torch.tensor([height, width])) if len(self.inputs) > 1 else (image,)


class _Maps(nn.Module):
    """An encoder, with its neck or without: all maps."""

    def __init__(self, encoder: nn.Module, neck: nn.Module | None) -> None:
        super().__init__()
        self.encoder, self.neck = encoder, neck

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self.encoder(image)
        return tuple(maps if self.neck is None else self.neck(maps))


def load_model(cfg: Config, checkpoint: str | os.PathLike[str]) -> Any:
    """Build a config's model with the weights of a checkpoint, to predict on the CPU.

    Raises:
        UserError: The checkpoint is not there, or does not fit the config.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    check_checkpoint(model, os.fspath(checkpoint), 'the arguments', complete=True)
    return model.eval()


def build_part(model: Any, name: PartName) -> Part:
    """Make the part of a model that is exported.

    Args:
        model: A detector, or a distiller with a ``student``.
        name: ``'encoder'``, ``'encoder+neck'``, or ``'model'`` for all of a detector, with what is
            done behind its heads.

    Raises:
        ConfigError: The model has no such part, or one that cannot be exported.
    """
    encoder = getattr(model, 'backbone', None) or getattr(model, 'student', None)
    if encoder is None:
        raise ConfigError(
            f'{type(model).__name__} has neither a backbone nor a student, so that there is no encoder '
            'to export. Name the config of a detector or of a distillation.'
        )
    inputs: tuple[str, ...] = ('image',)
    outputs: tuple[str, ...] = ()
    if name == 'model':
        body: nn.Module = detector_part(model)
        inputs, outputs = ('image', 'size'), ('boxes', 'scores', 'labels', 'masks')
    elif name == 'encoder':
        body = _Maps(encoder, None)
        outputs = tuple(f'map_{index}' for index in range(_count(encoder)))
    else:
        if not getattr(model, 'with_neck', False):
            raise ConfigError(
                f'{type(model).__name__} has no neck. Export its encoder with --part encoder.'
            )
        body = _Maps(encoder, model.neck)
    bands = input_bands(encoder) or 3
    preprocessor = model.data_preprocessor
    divisor = max(
        getattr(encoder, 'size_divisor', 1), getattr(preprocessor, 'pad_size_divisor', 1) or 1
    )
    normalises = getattr(preprocessor, '_enable_normalize', False)
    mean, std = (preprocessor.mean, preprocessor.std) if normalises else (None, None)
    part = Part(body, inputs, outputs, bands, divisor, mean, std).eval().requires_grad_(False)
    if not outputs:
        with torch.no_grad():
            levels = len(part(*part.example(divisor * 4, divisor * 4)))
        part.outputs = tuple(f'level_{index}' for index in range(levels))
    return part


def _count(encoder: nn.Module) -> int:
    if isinstance(encoder, Encoder):
        return len(encoder.map_strides) + int(encoder.with_embedding)
    with torch.no_grad():
        return len(encoder(torch.zeros(1, input_bands(encoder) or 3, 64, 64)))
