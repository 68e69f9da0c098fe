"""A picture of distillation: what goes in, what comes out, and where student and teacher differ."""

from collections.abc import Sequence

import cv2
import numpy as np

from .distillation_view import DistillationView
from .embedding_colours import EmbeddingColours
from .prediction_grid import _assemble


def error_map(student: np.ndarray, teacher: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Spread the normalised error over the cells that it comes from.

    Args:
        student: (C, h, w).
        teacher: (C, h, w).
        valid: Which cells count, boolean, (h, w).

    Returns:
        The absolute differences of each cell, summed over channels, over the teacher's mean absolute
        sum; (h, w). Its mean over valid cells is the normalised error ‖s - t‖₁ / ‖t‖₁. Where either
        map is not finite, neither is the error.
    """
    difference = np.abs(student.astype(np.float64) - teacher).sum(0)
    size = np.abs(teacher.astype(np.float64)).sum(0)[valid].mean()
    return difference / max(float(size), 1e-12)


def draw_distillation(views: Sequence[DistillationView], height: int = 256) -> np.ndarray:
    """Draw a row an image: input, corrupted input, teacher, student, error.

    Both embeddings have the colours of the same three principal components, those of the teacher's
    embeddings of all the images. The error goes from black, none, over red to pale yellow, 1 and
    above, which is as far off as a student that says zero. Padding is left out.

    Args:
        views: At least one.
        height: Of a row in pixels; images keep their aspect.

    Returns:
        The picture, RGB, (., ., 3), uint8.
    """
    valid = [_valid_cells(view) for view in views]
    vectors = [view.teacher[:, cells].T for view, cells in zip(views, valid, strict=True)]
    colours = EmbeddingColours.fit(np.concatenate(vectors))
    rows = []
    for view, cells in zip(views, valid, strict=True):
        error = error_map(view.student, view.teacher, cells)
        bounded = np.nan_to_num(error, nan=1.0, posinf=1.0).clip(0, 1)
        heat = cv2.applyColorMap(np.round(255 * bounded).astype(np.uint8), cv2.COLORMAP_INFERNO)
        pictures = [
            view.image,
            view.corrupted,
            colours.paint(view.teacher),
            colours.paint(view.student),
            cv2.cvtColor(heat, cv2.COLOR_BGR2RGB),
        ]
        row = [_fit(picture, view, height) for picture in pictures]
        _write(row[-1], f'{error[cells].mean():.3f}')
        rows.append(row)
    noise, mask = views[0].noise_ratio, views[0].mask_ratio
    titles = ['input', f'noise {noise:.2f} mask {mask:.2f}', 'teacher', 'student', 'error, 0 to 1']
    return _assemble(rows, titles)


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
    shrinks = picture.shape[0] > target[1]
    # Cells stay visible as squares.
    scaled = cv2.resize(
        picture, target, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    )
    return scaled[:height, : max(1, round(view.size[1] * scale))].copy()


def _write(picture: np.ndarray, text: str) -> None:
    """Write in the lower left corner, on black, since the heat below may be as pale as the text."""
    height = picture.shape[0]
    (width, above), below = cv2.getTextSize(text, 0, 0.45, 1)
    cv2.rectangle(picture, (0, height - above - below - 6), (width + 8, height), (0, 0, 0), -1)
    cv2.putText(picture, text, (4, height - below - 2), 0, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
