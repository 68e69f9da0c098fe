"""Distillation as a picture: what goes in, what comes out, and where student and teacher differ."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from rs4d.distillation.feature_distiller import FeatureDistiller, valid_area
from rs4d.distillation.matches import to_grid
from rs4d.distillation.teacher_cache import EMBEDDING
from rs4d.models.data_preprocessor import BandsDataPreprocessor

from .prediction_grid import assemble


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

    Inputs (B, bands, H, W) are those of the distiller's data preprocessor. Random numbers are drawn; the
    distiller is as before afterwards.
    """
    corruption, preprocessor = distiller.corruption, distiller.data_preprocessor
    # What is compiled runs as it was written: a few images are not worth another compilation.
    with _in_eval_mode(distiller), torch.compiler.set_stance('force_eager'):
        target = distiller.targets(inputs, data_samples)[EMBEDDING].float()
        valid = valid_area(inputs, data_samples)
        corrupted, _ = corruption(inputs, valid)
        features = to_grid(distiller.adapter(distiller.student(corrupted)[-1]).float(), target)
    ratios = float(corruption.noise_ratio), float(corruption.mask_ratio)
    sizes = [(_extent(area.any(1)), _extent(area.any(0))) for area in valid[:, 0]]
    pixels = _pixels(inputs, preprocessor), _pixels(corrupted, preprocessor)
    maps = target.cpu().numpy(), features.cpu().numpy()
    columns = zip(*pixels, *maps, sizes, strict=True)
    return [DistillationView(*column, *ratios) for column in columns]


class EmbeddingColours:
    """Three principal components of feature vectors as red, green and blue.

    Args:
        vectors: (N, C), N at least 1. Values that are not finite count as zero.
        clip: Share of the vectors at either end of each component that may be saturated.
    """

    def __init__(self, vectors: np.ndarray, clip: float = 0.02) -> None:
        vectors = np.nan_to_num(vectors.astype(np.float64), posinf=0, neginf=0)
        self.mean = vectors.mean(0)
        centred = vectors - self.mean
        # By the covariance: there are far more cells than channels.
        _, directions = np.linalg.eigh(centred.T @ centred)
        found = directions.T[::-1][:3]
        self.components = np.zeros((3, vectors.shape[1]))
        # The largest loading is positive: the same vectors always get the same colours.
        largest = np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1)
        self.components[: len(found)] = found * np.where(largest < 0, -1.0, 1.0)
        self.low, self.high = np.quantile(centred @ self.components.T, [clip, 1 - clip], axis=0)

    def paint(self, features: np.ndarray) -> np.ndarray:
        """Colour a feature map (C, H, W); RGB, (H, W, 3), uint8.

        Values that are not finite count as the mean; a component that did not vary is half bright.
        """
        centred = np.moveaxis(features.astype(np.float64), 0, -1) - self.mean
        projected = np.nan_to_num(centred, posinf=0, neginf=0) @ self.components.T
        span = self.high - self.low
        varies = span > 1e-9 * max(1.0, float(np.abs(self.high).max()))
        share = np.where(varies, (projected - self.low) / np.where(varies, span, 1), 0.5)
        return np.round(255 * share.clip(0, 1)).astype(np.uint8)


def error_map(student: np.ndarray, teacher: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Spread the normalised error ‖s - t‖₁ / ‖t‖₁ over the cells (h, w) that it comes from.

    The mean over valid cells is the error of embeddings (C, h, w).
    """
    difference = np.abs(student.astype(np.float64) - teacher).sum(0)
    size = np.abs(teacher.astype(np.float64)).sum(0)[valid].mean()
    return difference / max(float(size), 1e-12)


def draw_distillation(views: Sequence[DistillationView], height: int = 256) -> np.ndarray:
    """Draw a row an image: input, corrupted input, teacher, student, error.

    Both embeddings have the colours of the same three principal components, those of the teacher's
    embeddings of all the images. The error goes from black, none, over red to pale yellow, 1 and
    above, which is as far off as a student that says zero. Padding is left out. The picture is RGB,
    and its rows have a height in pixels.
    """
    valid = [_valid_cells(view) for view in views]
    vectors = [view.teacher[:, cells].T for view, cells in zip(views, valid, strict=True)]
    colours = EmbeddingColours(np.concatenate(vectors))
    rows = []
    for view, cells in zip(views, valid, strict=True):
        error = error_map(view.student, view.teacher, cells)
        bounded = np.nan_to_num(error, nan=1.0, posinf=1.0).clip(0, 1)
        heat = cv2.applyColorMap(np.round(255 * bounded).astype(np.uint8), cv2.COLORMAP_INFERNO)
        maps = colours.paint(view.teacher), colours.paint(view.student), heat[..., ::-1]
        row = [_fit(picture, view, height) for picture in (view.image, view.corrupted, *maps)]
        _write(row[-1], f'{error[cells].mean():.3f}')
        rows.append(row)
    noise, mask = views[0].noise_ratio, views[0].mask_ratio
    titles = ['input', f'noise {noise:.2f} mask {mask:.2f}', 'teacher', 'student', 'error, 0 to 1']
    return assemble(rows, titles)


def _pixels(inputs: Tensor, preprocessor: Any) -> np.ndarray:
    """Undo the normalisation; (B, H, W, 3), RGB, uint8; of a raster the first three bands, or one."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    values = inputs.float()
    if mean is not None and std is not None:
        values = values * std.view(1, -1, 1, 1).to(values) + mean.view(1, -1, 1, 1).to(values)
    if isinstance(preprocessor, BandsDataPreprocessor):
        values = values[:, :3] if values.shape[1] >= 3 else values[:, :1].expand(-1, 3, -1, -1)
    elif not getattr(preprocessor, '_channel_conversion', False):
        # Files are read as BGR.
        values = values.flip(1)
    return values.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()


def _extent(marked: Tensor) -> int:
    """Up to where a row (N,) is marked; all of it where it is not."""
    places = marked.nonzero()
    return int(places.max()) + 1 if len(places) else len(marked)


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


def _valid_cells(view: DistillationView) -> np.ndarray:
    """The cells of the embedding with any image in them, as the loss counts them; (h, w)."""
    height, width = view.teacher.shape[-2:]
    rows, columns = view.image.shape[:2]
    valid = np.zeros((height, width), bool)
    valid[: -(-view.size[0] * height // rows), : -(-view.size[1] * width // columns)] = True
    return valid


def _fit(picture: np.ndarray, view: DistillationView, height: int) -> np.ndarray:
    """Scale what covers the whole input to a row's height, without the padding."""
    full_height, full_width = view.image.shape[:2]
    scale = height / view.size[0]
    target = (round(full_width * scale), round(full_height * scale))
    # Cells stay visible as squares.
    how = cv2.INTER_AREA if picture.shape[0] > target[1] else cv2.INTER_NEAREST
    scaled = cv2.resize(np.ascontiguousarray(picture), target, interpolation=how)
    return scaled[:height, : max(1, round(view.size[1] * scale))].copy()


def _write(picture: np.ndarray, text: str) -> None:
    """Write in the lower left corner, on black, since the heat below may be as pale as the text."""
    height = picture.shape[0]
    (width, above), below = cv2.getTextSize(text, 0, 0.45, 1)
    cv2.rectangle(picture, (0, height - above - below - 6), (width + 8, height), (0, 0, 0), -1)
    cv2.putText(picture, text, (4, height - below - 2), 0, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
