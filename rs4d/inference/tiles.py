"""How a scene is cut: windows that the model sees, and the cores that belong to each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from rs4d.errors import ConfigError
from rs4d.geo.window import Window, starts


@dataclass(frozen=True)
class Tile:
    """One window of a scene.

    Attributes:
        number: Its place among the scene's tiles, row by row.
        window: What the model sees.
        core: The part whose objects are the tile's. The cores of all tiles cover the scene once.
        inner: Which edges of the window, left, top, right and bottom, lie within the scene.
    """

    number: int
    window: Window
    core: Window
    inner: tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a scene, made as they are asked for.

    Neighbouring windows share ``overlap`` pixels, half of them on each side of the line between their
    cores. So an object of that size, which belongs to the core that its centre lies in, is whole in the
    window of that core.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        size: Side of a window; 0 for one window of the whole scene.
        overlap: What neighbouring windows share, at least.

    Raises:
        ConfigError: The overlap is not below the size.
    """

    height: int
    width: int
    size: int
    overlap: int

    def __post_init__(self) -> None:
        if self.size and not 0 <= self.overlap < self.size:
            raise ConfigError(
                f'--size {self.size} --overlap {self.overlap}: the overlap is at least 0 and below the '
                'size.'
            )

    def __len__(self) -> int:
        return len(self._rows) * self.columns

    @property
    def columns(self) -> int:
        """How many tiles lie beside each other."""
        return len(self._cols)

    def __getitem__(self, number: int) -> Tile:
        row, col = divmod(number, self.columns)
        top, height, core_top, core_bottom = self._rows[row]
        left, width, core_left, core_right = self._cols[col]
        return Tile(
            number,
            Window(top, left, height, width),
            Window(core_top, core_left, core_bottom - core_top, core_right - core_left),
            (left > 0, top > 0, left + width < self.width, top + height < self.height),
        )

    def core_pixels(self, numbers: Sequence[int]) -> int:
        """How many pixels the cores of tiles have; of a million tiles in a moment."""
        sides = [
            np.array([end - begin for *_, begin, end in spans])
            for spans in (self._rows, self._cols)
        ]
        rows, cols = np.divmod(np.asarray(numbers, np.int64), self.columns)
        return int((sides[0][rows] * sides[1][cols]).sum())

    def __iter__(self) -> Iterator[Tile]:
        return (self[number] for number in range(len(self)))

    @cached_property
    def _rows(self) -> list[tuple[int, int, int, int]]:
        return _spans(self.height, self.size, self.overlap)

    @cached_property
    def _cols(self) -> list[tuple[int, int, int, int]]:
        return _spans(self.width, self.size, self.overlap)


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Start and length of the windows in one direction, and from where to where their cores reach."""
    size = min(size or length, length)
    begins = starts(length, size, overlap if size < length else 0)
    # Halfway through what two windows share.
    cuts = [(after + before + size) // 2 for before, after in pairwise(begins)]
    limits = zip([0, *cuts], [*cuts, length], strict=True)
    return [(begin, size, *limit) for begin, limit in zip(begins, limits, strict=True)]
