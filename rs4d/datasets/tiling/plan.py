"""Which windows of which scenes become tiles, and to which split each belongs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rs4d.errors import UserError
from rs4d.geo.window import Window

SPLITS = ('train', 'val')


class TilingError(UserError, ValueError):
    """Scenes and labels do not give the tiles that were asked for."""


@dataclass(frozen=True)
class Tile:
    """A window of a scene.

    Attributes:
        scene: Number of the scene.
        window: Where it lies there.
        objects: How many objects it shows.
    """

    scene: int
    window: Window
    objects: int


@dataclass(frozen=True)
class SplitOptions:
    """How tiles are divided.

    Attributes:
        val: Share of the tiles with objects that is for validation; 0 for none.
        block: Side in pixels of the square blocks of a scene that go to one split as a whole; None
            for about the area of all validation tiles, between the size of one tile and of four.
        guard: Pixels that lie at least between a tile of ``train`` and one of ``val``.
        empty: Share of the tiles without objects that is kept.
        seed: Of both choices.
    """

    val: float = 0.2
    block: int | None = None
    guard: int = 64
    empty: float = 0.1
    seed: int = 0


def divide(tiles: Sequence[Tile], options: SplitOptions) -> dict[str, list[int]]:
    """Divide tiles by blocks, leave those in the guard band out, and thin out the empty ones.

    Training tiles that come nearer than the guard to a validation tile of the same scene are dropped.

    Returns:
        For 'train' and 'val' the numbers of their tiles, ascending.

    Raises:
        TilingError: A split would be left without objects.
    """
    generator = np.random.default_rng(options.seed)
    chosen = _blocks_for_val(tiles, options, generator)
    side = _block_side(tiles, options)
    in_val = np.array([_block(tile, side) in chosen for tile in tiles], bool)
    keep = in_val | ~_near(tiles, in_val, options.guard)
    parts = {}
    for split, belongs in zip(SPLITS, (~in_val & keep, in_val), strict=True):
        numbers = np.flatnonzero(belongs)
        has = np.array([tiles[number].objects > 0 for number in numbers], bool)
        empty = numbers[~has]
        few = generator.permutation(empty)[: round(options.empty * len(empty))]
        parts[split] = sorted([*numbers[has].tolist(), *few.tolist()])
        if not has.any() and (split == 'train' or options.val):
            raise TilingError(
                f"No tile with an object is left for '{split}': {len(tiles)} tiles in blocks of {side} "
                f'pixels, with a guard of {options.guard} pixels. Choose a smaller --size, --block or '
                '--guard, or another --seed, or do without validation (--val 0).'
            )
    return parts


def _block_side(tiles: Sequence[Tile], options: SplitOptions) -> int:
    if options.block is not None:
        return options.block
    size = max(max(tile.window.height, tile.window.width) for tile in tiles)
    extent: dict[int, int] = {}
    for tile in tiles:
        _, _, right, bottom = tile.window.bounds
        extent[tile.scene] = max(extent.get(tile.scene, 0), right * bottom)
    return int(np.clip(np.sqrt(options.val * sum(extent.values())), size, 4 * size))


def _block(tile: Tile, side: int) -> tuple[int, int, int]:
    """The block in which a tile's centre lies."""
    window = tile.window
    return (
        tile.scene,
        int(window.row + window.height / 2) // side,
        int(window.col + window.width / 2) // side,
    )


def _blocks_for_val(
    tiles: Sequence[Tile], options: SplitOptions, generator: np.random.Generator
) -> set[tuple[int, int, int]]:
    """Blocks drawn one by one until they hold their share of the tiles with objects."""
    side = _block_side(tiles, options)
    counts: dict[tuple[int, int, int], int] = {}
    for tile in tiles:
        if tile.objects:
            counts[_block(tile, side)] = counts.get(_block(tile, side), 0) + 1
    chosen: set[tuple[int, int, int]] = set()
    blocks = sorted(counts)
    wanted = options.val * sum(counts.values())
    for number in generator.permutation(len(blocks)):
        if sum(counts[block] for block in chosen) >= wanted:
            break
        chosen.add(blocks[number])
    return chosen


def _near(tiles: Sequence[Tile], in_val: np.ndarray, guard: int) -> np.ndarray:
    """Which tiles come nearer than ``guard`` pixels to one for validation, (N,)."""
    near = np.zeros(len(tiles), bool)
    if not in_val.any():
        return near
    boxes = np.array([tile.window.bounds for tile in tiles])
    scenes = np.array([tile.scene for tile in tiles])
    for number in np.flatnonzero(in_val):
        x0, y0, x1, y1 = boxes[number]
        near |= (
            (scenes == scenes[number])
            & (boxes[:, 0] < x1 + guard)
            & (boxes[:, 2] > x0 - guard)
            & (boxes[:, 1] < y1 + guard)
            & (boxes[:, 3] > y0 - guard)
        )
    return near
