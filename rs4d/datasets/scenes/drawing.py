"""Shapes, textures and placement, shared by the radar and the optical scenes."""

import cv2
import numpy as np

# Fractional bits of OpenCV's fixed-point vertex coordinates.
_SHIFT = 4


def fill_polygon(shape: tuple[int, int], vertices: np.ndarray) -> np.ndarray:
    """Rasterise a polygon of vertices (V, 2), x and y in pixels; (H, W) bool."""
    canvas = np.zeros(shape, np.uint8)
    points = np.round(vertices * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [points], 1, lineType=cv2.LINE_8, shift=_SHIFT)
    return canvas.astype(bool)


def place(vertices: np.ndarray, center: np.ndarray, angle: float) -> np.ndarray:
    """Rotate vertices (V, 2) about the origin by an angle in radians and move them to a centre."""
    cos, sin = np.cos(angle), np.sin(angle)
    return vertices @ np.array([[cos, sin], [-sin, cos]]) + center


def cloud(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Draw a random field (H, W) of about zero mean and unit variance, smooth over a cell of pixels."""
    grid = (shape[0] // cell + 3, shape[1] // cell + 3)
    coarse = rng.standard_normal(grid, dtype=np.float32)
    size = (grid[1] * cell, grid[0] * cell)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    y, x = rng.integers(0, cell, 2)
    return smooth[cell + y : cell + y + shape[0], cell + x : cell + x + shape[1]] * 1.4


def take_place(free: np.ndarray, mask: np.ndarray, min_pixels: int, gap: int = 4) -> bool:
    """Take an object's place and a gap around from the free ones (H, W); False if it has none."""
    if np.count_nonzero(mask) < min_pixels or not free[mask].all():
        return False
    kernel = np.ones((2 * gap + 1, 2 * gap + 1), np.uint8)
    free &= cv2.dilate(mask.view(np.uint8), kernel) == 0
    return True
