"""What an exported file says of itself, and how images come to it as they come to the model."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from rs4d.analysis.complexity import input_shape
from rs4d.checkpoints import trained_classes
from rs4d.config.portable import prediction_pipeline
from rs4d.datasets.transforms import LoadRaster
from rs4d.errors import ConfigError
from rs4d.inference.predictor import stated_classes

from .parts import Part


class ImageLoader:
    """The step by which a config loads images.

    Args:
        step: A transform that turns ``img_path`` into ``img``, (H, W, C) in 0 to 255; None of a config
            that loads no images.

    Attributes:
        blue_first: Whether it gives three bands as blue, green, red.
    """

    def __init__(self, step: Any) -> None:
        self._step = step
        self.blue_first = not isinstance(step, LoadRaster)

    def read(self, path: str, part: Part, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Load an image, fit it into a size with its proportions kept, and pad it with zeros.

        Args:
            path: The file.
            part: What takes it.
            size: Height and width.

        Returns:
            What the part takes.

        Raises:
            UserError: The file is not there, cannot be loaded, or has other bands than the part takes.
        """
        if self._step is None:
            raise ConfigError(
                '--image: the config does not say how images are loaded, for it has neither a '
                'test_dataloader nor a val_dataloader. Leave --image out.'
            )
        image = np.atleast_3d(self._step(dict(img_path=os.fspath(path), img_id=0))['img'])
        if image.shape[2] != part.bands:
            raise ConfigError(
                f"--image '{path}': the config loads {image.shape[2]} bands of it, and the model takes "
                f'{part.bands}. Give an image like those of the training.'
            )
        scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        image = cv2.resize(image.astype(np.float32), (width, height)).reshape(height, width, -1)
        if part.blue_first:
            image = image[..., ::-1]
        pixels = torch.zeros(1, part.bands, *size)
        pixels[0, :, :height, :width] = torch.from_numpy(image.transpose(2, 0, 1).copy())
        return (pixels, torch.tensor([height, width])) if len(part.inputs) > 1 else (pixels,)


def image_loader(cfg: Config) -> ImageLoader:
    """Build the step by which a config loads the images that it predicts."""
    if not _loads(cfg):
        return ImageLoader(None)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return ImageLoader(TRANSFORMS.build(prediction_pipeline(cfg)[0]))


def _without_scopes(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_scopes(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if key != '_scope_'
    }


def _loads(cfg: Config) -> bool:
    return bool(cfg.get('test_dataloader') or cfg.get('val_dataloader'))


def usual_size(cfg: Config, divisor: int) -> tuple[int, int]:
    """Height and width at which a config predicts, made multiples of a number.

    That is its ``image_size``, or, as published models have none, the size of the pipeline's ``Resize``,
    or 1024.
    """
    steps = prediction_pipeline(cfg) if _loads(cfg) else []
    scale = next((step['scale'] for step in steps if 'scale' in step), None)
    known = cfg if 'image_size' in cfg or scale is None else dict(image_size=scale)
    height, width = (-(-side // divisor) * divisor for side in input_shape(known))
    return height, width


def describe(
    cfg: Config,
    checkpoint: str | Path,
    model: Any,
    part: Part,
    size: Sequence[int],
    dynamic: bool,
    version: str,
) -> dict[str, Any]:
    """Say of an exported file what its user has to know, as JSON can hold it.

    Args:
        cfg: The model's config.
        checkpoint: The file of weights.
        model: The model.
        part: What is exported.
        size: Height and width.
        dynamic: Whether other sizes go as well.
        version: Of RS4D.
    """
    about: dict[str, Any] = dict(
        rs4d=version,
        checkpoint=Path(checkpoint).name,
        config=Path(cfg.filename).name if cfg.filename else '',
        bands=part.bands,
        order='red, green, blue' if part.blue_first else "as the config's LoadRaster loads them",
        size=list(size),
        dynamic=dynamic,
        size_divisor=part.divisor,
        dtype=str(part.dtype).removeprefix('torch.'),
        subtracted_inside=part.in_input_order(part.mean),
        divided_by_inside=part.in_input_order(part.std),
    )
    loading = prediction_pipeline(cfg)[0] if _loads(cfg) else dict(type='')
    if loading['type'] == 'LoadRaster':
        about['loading'] = _without_scopes(loading)
    if 'size' in part.inputs:
        roi_head = model.roi_head
        settings = getattr(model.test_cfg, 'rcnn', None) or model.test_cfg
        about |= dict(
            classes=trained_classes(checkpoint) or stated_classes(cfg),
            score_threshold=settings.score_thr,
            mask_threshold=roi_head.test_cfg.mask_thr_binary,
        )
    return about
