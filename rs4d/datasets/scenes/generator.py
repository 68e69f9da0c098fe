"""One scene from a seed and a number."""

from dataclasses import dataclass

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
    """Draw one scene: radar ships or optical roofs, half of the time each.

    Every scene has random numbers of its own, so neither the size of a set nor the other scenes in
    it change what it shows.

    Args:
        seed: Seed of the set, not negative.
        index: Number of the scene in its split, not negative.
        split: ``'train'`` or ``'val'``, which have no scene in common.
        size: Height and width in pixels, at least 64.

    Returns:
        The scene, with at least one instance.

    Raises:
        ConfigError: An argument is out of range.
    """
    if split not in SPLITS or size < 64 or seed < 0 or index < 0:
        raise ConfigError(
            f'generate_scene(seed={seed}, index={index}, split={split!r}, size={size}): seed and '
            f'index must not be negative, split has to be one of {SPLITS}, size at least 64.'
        )
    # A scene that found no place for an object (rare) is drawn again from the next numbers.
    for attempt in range(100):
        sequence = np.random.SeedSequence([VERSION, seed, SPLITS.index(split), index, attempt])
        rng = np.random.Generator(np.random.PCG64(sequence))
        draw = draw_sar_scene if rng.random() < 0.5 else draw_optical_scene
        image, masks, names = draw(rng, size)
        if masks:
            labels = np.array([CLASSES.index(name) for name in names], np.int64)
            return Scene(image, np.stack(masks), labels)
    raise ConfigError(
        f'No object found a place in scene {index} of split {split} with seed {seed} in '
        '100 attempts.'
    )
