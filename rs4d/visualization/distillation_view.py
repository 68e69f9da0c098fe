"""What a distiller's student is given, and what it and its teacher make of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from rs4d.distillation.feature_distiller import FeatureDistiller, valid_area
from rs4d.distillation.matches import to_grid
from rs4d.distillation.teacher_cache import EMBEDDING


@dataclass(frozen=True)
class DistillationView:
    """An image on its way through distillation.

    Attributes:
        image: What the teacher sees, RGB, (H, W, 3), uint8, with its padding.
        corrupted: What the student sees, likewise.
        teacher: The teacher's embedding, (C, h, w), float32.
        student: The student's, as wide and on the same grid.
        size: Height and width in pixels of the part that is not padding.
        noise_ratio: The noise in force.
        mask_ratio: The share of patches that were dropped.
    """

    image: np.ndarray
    corrupted: np.ndarray
    teacher: np.ndarray
    student: np.ndarray
    size: tuple[int, int]
    noise_ratio: float
    mask_ratio: float


@torch.no_grad()
def view_distillation(
    distiller: FeatureDistiller, inputs: Tensor, data_samples: list[BaseDataElement] | None
) -> list[DistillationView]:
    """Corrupt images as a training step would at this moment, and compare student and teacher.

    The distiller is as before afterwards: its schedule does not move, and its layers are in the
    mode they were in. Random numbers are drawn.

    Args:
        distiller: The model.
        inputs: Normalised images (B, 3, H, W), of its data preprocessor.
        data_samples: One for each image; with a teacher's cache they bring the embeddings.

    Returns:
        A view of each image.
    """
    # What is compiled runs as it was written: a few images are not worth another compilation.
    with _in_eval_mode(distiller), torch.compiler.set_stance('force_eager'):
        target = distiller.teacher_maps(inputs, data_samples)[EMBEDDING].float()
        valid = valid_area(inputs, data_samples)
        corrupted, _ = distiller.corruption(inputs, valid)
        features = to_grid(distiller.adapter(distiller.student(corrupted)[-1]).float(), target)
    preprocessor = distiller.data_preprocessor
    seen, given = _pixels(inputs, preprocessor), _pixels(corrupted, preprocessor)
    views = []
    for i, area in enumerate(valid[:, 0]):
        size = (int(area.any(1).sum()), int(area.any(0).sum()))
        views.append(
            DistillationView(
                image=seen[i],
                corrupted=given[i],
                teacher=target[i].cpu().numpy(),
                student=features[i].cpu().numpy(),
                size=size,
                noise_ratio=float(distiller.corruption.noise_ratio),
                mask_ratio=float(distiller.corruption.mask_ratio),
            )
        )
    return views


def _pixels(inputs: Tensor, preprocessor: Any) -> np.ndarray:
    """Undo the normalisation; (B, H, W, 3), RGB, uint8."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    values = inputs.float()
    if mean is not None and std is not None:
        values = values * std.view(1, -1, 1, 1).to(values) + mean.view(1, -1, 1, 1).to(values)
    if not getattr(preprocessor, '_channel_conversion', False):
        # Files are read as BGR.
        values = values.flip(1)
    return values.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are, and each layer's mode for afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
