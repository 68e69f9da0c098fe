"""One scene from a seed and a number."""

from dataclasses import dataclass
from itertools import count

import numpy as np

from rs4d.errors import ConfigError

from .optical import draw_optical_scene
from .sar import draw_sar_scene

CLASSES = ('ship', 'building')
SPLITS = ('train', 'val')
# Part of the seed and of the written info: raised whenever the same seed gives other scenes.
VERSION = 1


@dataclass(frozen=True)
class Scene:
    """An image with its instances.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        masks: (N, H, W) bool, exactly the pixels that each object was drawn on; disjoint.
        labels: (N,) int64, indices into ``CLASSES``.
    """

    image: np.ndarray
    masks: np.ndarray
    labels: np.ndarray


def generate_scene(seed: int, index: int, split: str = 'train', size: int = 256) -> Scene:
    """Draw one scene with at least one instance: radar ships or optical roofs, half of the time each.

    Every scene has random numbers of its own, so neither the size of a set nor the other scenes in
    it change what it shows.

    Args:
        seed: Seed of the set, not negative.
        index: Number of the scene in its split, not negative.
        split: ``'train'`` or ``'val'``, which have no scene in common.
        size: Height and width in pixels, at least 64.

    Raises:
        ConfigError: An argument is out of range.
    """
    if split not in SPLITS or size < 64 or seed < 0 or index < 0:
        raise ConfigError(
            f'generate_scene(seed={seed}, index={index}, split={split!r}, size={size}): seed and '
            f'index must not be negative, split has to be one of {SPLITS}, size at least 64.'
        )
    masks: list[np.ndarray] = []
    attempts = count()
    while not masks:  # a scene that found no place for an object (rare) is drawn again
        entropy = [VERSION, seed, SPLITS.index(split), index, next(attempts)]
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        label = int(rng.random() >= 0.5)
        image, masks = (draw_sar_scene, draw_optical_scene)[label](rng, size)
    return Scene(image, np.stack(masks), np.full(len(masks), label, np.int64))
