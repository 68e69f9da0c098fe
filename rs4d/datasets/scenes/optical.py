"""Optical scenes: roofs with shadows on ground with vegetation and roads."""

import cv2
import numpy as np

from .drawing import cloud, fill_polygon, place, take_place


def _colours(text: str) -> np.ndarray:
    """Colours (N, 3) of RGB in hexadecimal."""
    return np.array([[*bytes.fromhex(colour)] for colour in text.split()], np.float32)


_GROUNDS = _colours('707654 867c62 606e46 948c78 787060')
_GREENS = _colours('3a522e 4a6036 30442c')
_ROOFS = _colours('b05440 964236 c4beb8 e2e0dc 5c606a 6e84a4 c69670 ce7054')


def draw_optical_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw an aerial view (H, W, 3) uint8 in RGB, and the masks (H, W) bool of its roofs."""
    shape = (size, size)
    image = _draw_ground(rng, shape)
    free = np.ones(shape, bool)
    main_angle = rng.uniform(0, np.pi / 2)
    for turn in range(rng.integers(0, 3)):
        free &= ~_add_road(rng, image, main_angle + turn * np.pi / 2)
    roofs = _place_roofs(rng, free, main_angle)
    covered, shadow = np.zeros(shape, bool), np.zeros(shape, bool)
    for mask, _, _ in roofs:
        covered |= mask
    _add_trees(rng, image, covered)
    sun = rng.uniform(0, 2 * np.pi)
    for mask, _, height in roofs:
        shadow |= _cast_shadow(mask, sun, height)
    image[shadow & ~covered] *= rng.uniform(0.4, 0.6)
    for mask, vertices, _ in roofs:
        _paint_roof(rng, image, mask, vertices, sun)
    image *= rng.uniform(0.85, 1.15)
    blurred = np.asarray(cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.6)))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 5))
    image = blurred + noise
    return np.clip(image, 0, 255).astype(np.uint8), [mask for mask, _, _ in roofs]


def _draw_ground(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw soil and grass (H, W, 3) float32."""
    size = shape[0]
    base = rng.choice(_GROUNDS) + rng.normal(0, 6, 3)
    green = rng.choice(_GREENS)
    lush = cloud(rng, shape, size // 5) + 0.6 * cloud(rng, shape, size // 12)
    share = np.clip(0.5 * lush + rng.uniform(-0.2, 0.6), 0, 0.85)[..., None]
    grain = 7 * cloud(rng, shape, 4) + 5 * cloud(rng, shape, 2)
    return (base * (1 - share) + green * share + grain[..., None]).astype(np.float32)


def _add_road(rng: np.random.Generator, image: np.ndarray, angle: float) -> np.ndarray:
    """Draw a straight road across the image; return its surface (H, W) bool."""
    size = image.shape[0]
    along = np.array([np.cos(angle), np.sin(angle)])
    middle = size / 2 + rng.uniform(-0.35, 0.35) * size * np.array([-along[1], along[0]])
    half = rng.uniform(5, 9) * size / 256
    box = np.array([[-2 * size, -half], [2 * size, -half], [2 * size, half], [-2 * size, half]])
    road = fill_polygon(image.shape[:2], place(box, middle, angle))
    gray = rng.uniform(105, 150) + 4 * cloud(rng, image.shape[:2], 3)[road]
    image[road] = gray[:, None]
    if rng.random() < 0.6:
        start, end = (tuple(int(v) for v in middle + t * 2 * size * along) for t in (-1, 1))
        cv2.line(image, start, end, (210.0, 210.0, 200.0), 1)
    return road


def _roof_outline(rng: np.random.Generator, scale: float) -> np.ndarray:
    """Draw the size of a rectangular or L-shaped roof; vertices (V, 2) about its centre."""
    a, b = rng.uniform(26, 72) * scale, rng.uniform(22, 46) * scale
    if rng.random() < 0.35:
        # The inner corner leaves both wings at least half of the short side wide.
        u, v = a * rng.uniform(0.4, 0.6), b * rng.uniform(0.4, 0.5)
        corners = [[0, 0], [a, 0], [a, b - v], [a - u, b - v], [a - u, b], [0, b]]
    else:
        corners = [[0, 0], [a, 0], [a, b], [0, b]]
    return np.array(corners, float) - (a / 2, b / 2)


def _place_roofs(
    rng: np.random.Generator, free: np.ndarray, main_angle: float
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Find places for roofs; returns masks, vertices in the image and heights in pixels."""
    size = free.shape[0]
    scale = size / 256
    roofs = []
    for _ in range(rng.integers(2, 9)):
        for _ in range(8):
            outline = _roof_outline(rng, scale)
            # Houses mostly follow the street.
            angle = main_angle if rng.random() < 0.7 else rng.uniform(0, np.pi)
            center = rng.uniform(0.06 * size, 0.94 * size, 2)
            vertices = place(outline, center, angle)
            mask = fill_polygon(free.shape, vertices)
            if take_place(free, mask, int(300 * scale**2)):
                roofs.append((mask, vertices, rng.uniform(3, 9) * scale))
                break
    return roofs


def _cast_shadow(mask: np.ndarray, sun: float, height: float) -> np.ndarray:
    """Sweep a mask away from the sun by a building's height in pixels."""
    shadow = np.zeros_like(mask)
    for step in range(1, int(height) + 1):
        move = np.array([[1, 0, step * np.cos(sun)], [0, 1, step * np.sin(sun)]])
        moved = cv2.warpAffine(mask.view(np.uint8), move, mask.shape, flags=cv2.INTER_NEAREST)
        shadow |= moved.astype(bool)
    return shadow


def _paint_roof(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, vertices: np.ndarray, sun: float
) -> None:
    """Paint a flat or a gable roof, whose far side from the sun is darker, over its mask."""
    color = rng.choice(_ROOFS) * rng.uniform(0.9, 1.1) + rng.normal(0, 5, 3)
    y, x = np.nonzero(mask)
    long_side = vertices[1] - vertices[0]
    across = np.array([-long_side[1], long_side[0]]) / np.linalg.norm(long_side)
    shade: np.ndarray = np.ones((len(x), 1))
    if rng.random() < 0.6:
        middle = vertices.min(0) / 2 + vertices.max(0) / 2
        distance = (np.stack([x, y], 1) - middle) @ across[:, None]
        facing = np.sign(across @ np.array([np.cos(sun), np.sin(sun)]))
        shade = np.where(distance * facing > 0, 0.8, 1.05)
        # Rows of tiles along the ridge.
        shade = shade * (1 + 0.04 * np.sin(distance * 2.1))
    image[y, x] = color * shade + 3 * rng.standard_normal((len(x), 1))
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(x)))
            box = np.array([[0, 0], [3, 0], [3, 2], [0, 2]]) + np.array([x[at], y[at]])
            patch = fill_polygon(image.shape[:2], box)
            image[patch & mask] = rng.uniform(70, 230)


def _add_trees(rng: np.random.Generator, image: np.ndarray, covered: np.ndarray) -> None:
    """Dot the ground with crowns, never over a roof."""
    size = image.shape[0]
    layer = np.zeros(covered.shape, np.uint8)
    for _ in range(rng.integers(0, 25)):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        cv2.circle(layer, (x, y), int(rng.integers(2, 6) * size / 256), 1, -1)
    crowns = layer.astype(bool) & ~covered
    green = rng.choice(_GREENS) * 0.75
    image[crowns] = green + 8 * rng.standard_normal((np.count_nonzero(crowns), 1))
