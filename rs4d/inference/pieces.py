"""What a window says of the objects in it: those that are its own, and parts of others."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs4d.geo.extra import geo_library
from rs4d.geo.outlines import filled_part, mask_to_polygon

from .results import Instances
from .tiles import Tile

TOUCH = 2
"""Pixels from a window's edge within which an object may go on beyond it."""
MARGIN = 8
"""Pixels beyond its core in which a tile's objects are kept until neighbours have been asked: two
windows do not see an object's centre in the same place."""


@dataclass(frozen=True)
class Piece:
    """What one window shows of an object.

    Attributes:
        tile: The number of the tile.
        label: The class.
        score: From 0 to 1.
        packed: MultiPolygon in pixels of the scene; see `pack`.
        cut: Whether it reaches an edge of the window behind which the scene goes on.
        own: Whether its centre lies in the tile's core.
    """

    tile: int
    label: int
    score: float
    packed: bytes
    cut: bool
    own: bool

    @property
    def polygon(self) -> Any:
        """The MultiPolygon."""
        return unpack(self.packed)


def pack(polygon: Any) -> bytes:
    """A polygon in little memory, for a scene may have many: compressed well-known binary."""
    return zlib.compress(polygon.wkb, 1)


def unpack(packed: bytes) -> Any:
    """The polygon that `pack` was given."""
    shapely = geo_library('shapely', 'Reading what was found')
    return shapely.from_wkb(zlib.decompress(packed))


def pieces_of(tile: Tile, found: Instances, overlap: int) -> list[Piece]:
    """Take from a window what its tile has to say.

    That is objects whose centre lies in the core, or near it, and of others that reach into the core
    those that another window may not show as a whole: parts, and what is larger than ``overlap``, the
    pixels that windows share.
    """
    pieces = []
    for mask, label, score in zip(
        found.masks, found.labels.tolist(), found.scores.tolist(), strict=True
    ):
        filled = filled_part(mask)
        if filled is None:
            continue
        part, (col, row) = filled
        x0, y0 = tile.window.col + col, tile.window.row + row
        x1, y1 = x0 + part.shape[1], y0 + part.shape[0]
        centre = (x0 + x1) / 2, (y0 + y1) / 2
        left, top, right, bottom = tile.window.bounds
        gaps = x0 - left, y0 - top, right - x1, bottom - y1
        cut = any(inner and gap < TOUCH for inner, gap in zip(tile.inner, gaps, strict=True))
        large = max(x1 - x0, y1 - y0) > overlap - 2 * TOUCH
        near = tile.core.grown(MARGIN).contains(*centre)
        if near or ((cut or large) and _reaches(mask, tile)):
            packed = pack(mask_to_polygon(part, (x0, y0)))
            pieces.append(
                Piece(tile.number, label, score, packed, cut, tile.core.contains(*centre))
            )
    return pieces


def _reaches(mask: np.ndarray, tile: Tile) -> bool:
    """Whether a mask of the window has pixels in the core."""
    row, col = tile.core.row - tile.window.row, tile.core.col - tile.window.col
    core = mask[row : row + tile.core.height, col : col + tile.core.width]
    return bool(core.any())
