"""The parts of a model that are exported: modules of tensors in, tensors out, with their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from rs4d.checkpoints import trained_classes
from rs4d.checkpoints.checks import check_checkpoint, require_classes
from rs4d.checkpoints.reading import SAFETENSORS, read_header
from rs4d.errors import ConfigError
from rs4d.models.backbones.encoder import input_bands

from .detectors import detector_part

PartName = Literal['encoder', 'encoder+neck', 'model']


class Part(nn.Module):
    """What is exported: normalises images, and does what its body does.

    Args:
        body: Takes normalised images (B, bands, H, W), and what else ``inputs`` names.
        inputs: Names of what ``forward`` takes.
        outputs: Names of what it returns; of maps, of which there are as many as there are, what each
            is, to be numbered.
        bands: How many bands an image has.
        divisor: What both sides of an image have to be multiples of.
        mean: Of each band as the body takes them, on the scale of the image, or None for images that
            are normalised.
        std: Standard deviation likewise.
        blue_first: Whether the config loads three bands as blue, green, red. The part always takes
            them as red, green, blue.
        turns: Whether the body takes three bands in the other order than they are loaded in.

    Attributes:
        dtype: The type in which the body computes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str] | str,
        bands: int,
        divisor: int,
        mean: Tensor | None = None,
        std: Tensor | None = None,
        blue_first: bool = False,
        turns: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.blue_first, self._turned = blue_first, blue_first != turns
        self.inputs = tuple(inputs)
        self.outputs = outputs if isinstance(outputs, str) else tuple(outputs)
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
        found = self.body(self.normalise(image).to(self.dtype), *others)
        return tuple(x.float() if x.is_floating_point() else x for x in found)

    def output_names(self, count: int) -> tuple[str, ...]:
        """Name what the part returns, of which there are ``count``."""
        if isinstance(self.outputs, str):
            return tuple(f'{self.outputs}_{index}' for index in range(count))
        return self.outputs

    def normalise(self, image: Tensor) -> Tensor:
        """Prepare images (B, bands, H, W), as ``forward`` takes them, for the body."""
        image = image[:, [2, 1, 0]] if self._turned else image
        return (image - self.mean) / self.std

    def in_input_order(self, values: Tensor) -> list[float]:
        """Turn numbers of the bands, such as ``mean``, into the order in which images come."""
        flat = values.flatten().expand(self.bands)
        return (flat.flip(0) if self._turned else flat).tolist()

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


def load_model(cfg: Config, checkpoint: str | Path, part: PartName = 'model') -> Any:
    """Build a config's model with the weights of a checkpoint, to predict on the CPU.

    Args:
        cfg: The config.
        checkpoint: The file of weights. Of a published encoder, which has no other weights, only the
            model's encoder is loaded.
        part: What of it is needed.

    Raises:
        UserError: The checkpoint is not there, or does not fit the config or the part.
    """
    alone = holds_encoder(checkpoint)
    if alone and part != 'encoder':
        raise ConfigError(f"The file '{checkpoint}' has an encoder alone: give --part encoder.")
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    check_checkpoint(
        _encoder_of(model) if alone else model,
        str(checkpoint),
        'the arguments',
        complete=True,
    )
    require_classes(model, trained_classes(checkpoint), checkpoint)
    return model.eval()


def holds_encoder(checkpoint: str | Path) -> bool:
    """Whether a file is a published encoder, without a neck and heads."""
    path = Path(checkpoint).expanduser()
    return path.suffix == SAFETENSORS and read_header(path).get('part') == 'encoder'


def build_part(model: Any, name: PartName, blue_first: bool = True) -> Part:
    """Make the part of a model that is exported.

    Args:
        model: A detector, or a distiller with a ``student``.
        name: ``'encoder'``, ``'encoder+neck'``, or ``'model'`` for all of a detector, with what is
            done behind its heads.
        blue_first: Whether the model's config loads three bands as blue, green, red, as all loading
            steps do but ``LoadRaster``.

    Raises:
        ConfigError: The model has no such part, or one that cannot be exported.
    """
    encoder = _encoder_of(model)
    inputs: tuple[str, ...] = ('image',)
    outputs: tuple[str, ...] | str = 'map'
    bands = input_bands(encoder) or 3
    if name == 'model':
        body: nn.Module = detector_part(model)
        inputs, outputs = ('image', 'size'), ('boxes', 'scores', 'labels', 'masks')
    elif name == 'encoder':
        body = _Maps(encoder, None)
    else:
        if not getattr(model, 'with_neck', False):
            raise ConfigError(
                f'{type(model).__name__} has no neck. Export its encoder with --part encoder.'
            )
        body, outputs = _Maps(encoder, model.neck), 'level'
    preprocessor = model.data_preprocessor
    divisor = max(
        getattr(encoder, 'size_divisor', 1), getattr(preprocessor, 'pad_size_divisor', 1) or 1
    )
    normalises = getattr(preprocessor, '_enable_normalize', False)
    mean, std = (preprocessor.mean, preprocessor.std) if normalises else (None, None)
    part = Part(
        body,
        inputs,
        outputs,
        bands,
        divisor,
        mean,
        std,
        blue_first=blue_first and bands == 3,
        turns=getattr(preprocessor, '_channel_conversion', False),
    )
    _require_same_images(part, preprocessor)
    return part.eval().requires_grad_(False)


def _encoder_of(model: Any) -> nn.Module:
    encoder = getattr(model, 'backbone', None) or getattr(model, 'student', None)
    if encoder is None:
        raise ConfigError(
            f'{type(model).__name__} has neither a backbone nor a student, so that there is no encoder '
            'to export. Name the config of a detector or of a distillation.'
        )
    return encoder


def _require_same_images(part: Part, preprocessor: Any) -> None:
    """Raise unless a part prepares images as the model's own preprocessor does."""
    (image, *_) = part.example(part.divisor, part.divisor)
    loaded = image[0].flip(0) if part.blue_first else image[0]
    expected = preprocessor(dict(inputs=[loaded], data_samples=None))['inputs']
    found = part.normalise(image)
    if found.shape != expected.shape or not torch.allclose(found, expected, 1e-5, 1e-5):
        raise ConfigError(
            f'model.data_preprocessor, a {type(preprocessor).__name__}, does something else to images '
            'than to subtract a mean and divide by a standard deviation, which is all that is exported. '
            'Use DetDataPreprocessor or BandsDataPreprocessor.'
        )
