"""Radar scenes: bright elongated ships on speckled water, with land in some of them."""

import cv2
import numpy as np

from .drawing import cloud, fill_polygon, place, take_place

# Outline of a hull of length and width 1, the bow to the right.
_HULL = np.stack(
    [[-0.5, -0.42, 0.22, 0.5, 0.22, -0.42, -0.5], [-0.36, -0.5, -0.5, 0.0, 0.5, 0.5, 0.36]], 1
)


def draw_sar_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw a radar amplitude image (H, W, 3) uint8, and the masks (H, W) bool of its ships.

    Backscatter is drawn as intensity, multiplied by gamma-distributed speckle of 1.5 to 5 looks,
    and shown as amplitude in 8 bits (multilook intensity: Goodman, "Some fundamental properties of
    speckle", JOSA 66(11), 1976).
    """
    shape = (size, size)
    sea = rng.uniform(0.3, 2.0)
    intensity = sea * np.exp(
        rng.uniform(0.05, 0.25) * cloud(rng, shape, size // 4)
        + rng.uniform(0.05, 0.15) * cloud(rng, shape, 8)
    )
    water = np.ones(shape, bool)
    if rng.random() < 0.3:
        water = _add_land(rng, intensity, sea)
    peak = rng.uniform(16, 30)
    ships = [_add_ship(rng, intensity, water, peak) for _ in range(rng.integers(1, 7))]
    looks = rng.uniform(1.5, 5)
    speckle = rng.standard_gamma(looks, shape).astype(np.float32) / np.float32(looks)
    # The sensor's point spread correlates neighbouring pixels.
    amplitude = np.sqrt(cv2.GaussianBlur(intensity.astype(np.float32) * speckle, (3, 3), 0.6))
    gray = np.clip(amplitude * rng.uniform(38, 55), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2), [ship for ship in ships if ship is not None]


def _add_land(rng: np.random.Generator, intensity: np.ndarray, sea: float) -> np.ndarray:
    """Add a coast along one side; return where water is left, away from the shore."""
    size = intensity.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size].astype(np.float32) - size / 2
    inland = x * np.cos(angle) + y * np.sin(angle) - size * rng.uniform(0.25, 0.42)
    inland = inland + 0.05 * size * cloud(rng, intensity.shape, size // 8)
    land = inland > 0
    texture = 0.45 * cloud(rng, intensity.shape, size // 10) + 0.3 * cloud(rng, intensity.shape, 5)
    clutter = sea * rng.uniform(1.5, 3.5) * np.exp(texture)
    intensity[land] = clutter[land]
    return inland < -6


def _add_ship(
    rng: np.random.Generator, intensity: np.ndarray, water: np.ndarray, peak: float
) -> np.ndarray | None:
    """Draw one ship with its wake and sidelobes; None where no place was found."""
    size = intensity.shape[0]
    scale = size / 256
    for _ in range(8):
        width = rng.uniform(11, 22) * scale
        length = width * rng.uniform(2.4, 4.2)
        angle = rng.uniform(0, 2 * np.pi)
        center = rng.uniform(0.06 * size, 0.94 * size, 2)
        mask = fill_polygon(intensity.shape, place(_HULL * (length, width), center, angle))
        if take_place(water, mask, int(0.6 * length * width)):
            break
    else:
        return None
    heading = np.array([np.cos(angle), np.sin(angle)])
    if rng.random() < 0.4:
        _add_wake(rng, intensity, center - heading * length / 2, angle, length)
    brightness = peak * rng.uniform(0.6, 1.4)
    structure = np.exp(0.35 * cloud(rng, intensity.shape, 6))
    intensity[mask] = brightness * structure[mask]
    # Corner reflectors on deck: a few strong scatterers, the strongest of which smear along the
    # image's axes, range and azimuth.
    for _ in range(rng.integers(1, 4)):
        spot = center + heading * rng.uniform(-0.4, 0.3) * length
        x, y = np.clip(spot, 2, size - 3).astype(int)
        if not mask[y, x]:
            continue
        intensity[y - 1 : y + 2, x - 1 : x + 2] += brightness * rng.uniform(1, 3)
        if rng.random() < 0.4:
            reach = int(rng.uniform(0.5, 1.0) * length)
            falloff = 1 / (1 + (np.abs(np.arange(size)) / (0.12 * length)) ** 2)
            for position, line in ((x, intensity[y]), (y, intensity[:, x])):
                distance = np.abs(np.arange(size) - position)
                line += np.where(distance < reach, brightness * falloff[distance], 0)
    return mask


def _add_wake(
    rng: np.random.Generator, intensity: np.ndarray, stern: np.ndarray, angle: float, length: float
) -> None:
    """Draw a dark turbulent wake between two faint bright arms."""
    layer = np.zeros(intensity.shape, np.float32)
    reach = length * rng.uniform(1, 2.5)
    for spread, value in ((0.0, -1.2), (0.16, 1.2), (-0.16, 1.2)):
        back = angle + np.pi + spread
        end = stern + reach * np.array([np.cos(back), np.sin(back)])
        points = [tuple(int(v) for v in p) for p in (stern, end)]
        cv2.line(layer, points[0], points[1], value, thickness=3 if spread == 0 else 1)
    layer = cv2.GaussianBlur(layer, (5, 5), 1.0)
    intensity *= np.clip(1 + 0.6 * layer, 0.3, None)
