"""Pieces of objects that tiles have cut, joined on the map."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs4d.geo.extra import geo_library
from rs4d.geo.outlines import polygonal

MIN_SHARED = 0.5
"""Intersection over union, in what two tiles share, from which two pieces are one object."""
SNAP = 1e-4
"""Grid in pixels on which pieces meet, so that rounding leaves no gap between them."""


@dataclass(frozen=True)
class Piece:
    """What one tile has of an object.

    Attributes:
        polygon: MultiPolygon on the map.
        name: Its class.
        image: Which tile.
        frame: The tile's outline on the map.
        pixel: Side of a pixel in the map's units.
        key: What pieces of one object share; None where that is not known.
        score: Of a result, else None.
        crowd: Whether too little of the object is seen to count by itself.
    """

    polygon: Any
    name: str
    image: int
    frame: Any
    pixel: float
    key: Hashable = None
    score: float | None = None
    crowd: bool = False


def groups(pieces: Sequence[Piece]) -> list[list[int]]:
    """Which pieces are one object: those of one key; without keys, those that agree where tiles meet.

    Two of one class, from different tiles, are one object if they agree in the strip that both tiles
    show, or, where tiles only touch, along the seam.

    Returns:
        Numbers of pieces; each piece is in one group.
    """
    shapely = geo_library('shapely', 'Joining objects')
    parent = list(range(len(pieces)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[Hashable, int] = {}
    for number, piece in enumerate(pieces):
        if piece.key is not None:
            parent[root(number)] = root(first.setdefault((piece.key, piece.name), number))
    loose = [number for number, piece in enumerate(pieces) if piece.key is None]
    if loose:
        shapes = np.array([pieces[number].polygon for number in loose], dtype=object)
        # Where tiles only touch, rounding may hold their pieces apart.
        wide = shapely.buffer(shapes, [pieces[number].pixel * 0.01 for number in loose])
        left, right = shapely.STRtree(wide).query(wide, predicate='intersects')
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            if a < b and _agree(pieces[loose[a]], pieces[loose[b]]):
                parent[root(loose[b])] = root(loose[a])
    found: dict[int, list[int]] = {}
    for number in range(len(pieces)):
        found.setdefault(root(number), []).append(number)
    return list(found.values())


def union(pieces: Sequence[Piece]) -> Any:
    """One MultiPolygon of an object's pieces; the corners where they were cut are gone."""
    if len(pieces) == 1:
        return pieces[0].polygon
    shapely = geo_library('shapely', 'Joining objects')
    pixel = min(piece.pixel for piece in pieces)
    joined = shapely.union_all([piece.polygon for piece in pieces], grid_size=pixel * SNAP)
    return polygonal(shapely.simplify(joined, pixel * SNAP * 5))


def _agree(one: Piece, other: Piece) -> bool:
    if one.name != other.name or one.image == other.image:
        return False
    pixel = min(one.pixel, other.pixel)
    strip = one.frame.intersection(other.frame)
    if strip.area > pixel * min(one.frame.length, other.frame.length) * 0.01:
        a, b = one.polygon.intersection(strip), other.polygon.intersection(strip)
        whole = a.union(b).area
        return whole > 0 and a.intersection(b).area >= MIN_SHARED * whole
    seam = one.frame.buffer(pixel * 0.01).intersection(other.frame.buffer(pixel * 0.01))
    if seam.is_empty:
        return False
    a, b = one.polygon.intersection(seam), other.polygon.intersection(seam)
    a, b = a.buffer(pixel * 0.02), b.buffer(pixel * 0.02)
    whole = a.union(b).area
    return whole > 0 and a.intersection(b).area >= MIN_SHARED * whole
