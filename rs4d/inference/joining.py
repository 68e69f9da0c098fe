"""One object of what several windows show of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs4d.geo.extra import geo_library
from rs4d.geo.outlines import polygonal

from .pieces import Piece, pack, unpack
from .tiles import TilePlan

AGREE = 0.5
"""Intersection over union of two masks, where both windows see, from which they are one object."""


@dataclass(frozen=True)
class Found:
    """An object of a scene.

    Attributes:
        label: The class.
        score: The highest of its pieces.
        packed: MultiPolygon in pixels of the scene, by `pieces.pack`.
        joined: Of how many pieces it was put together.
    """

    label: int
    score: float
    packed: bytes
    joined: int = 1

    @property
    def polygon(self) -> Any:
        """The MultiPolygon."""
        return unpack(self.packed)


def join(pieces: Sequence[Piece], plan: TilePlan) -> list[Found]:
    """Make objects of what the windows of a scene show.

    Two pieces of one class from two windows are the same object if their masks agree in the part of
    the scene that both windows show: where windows share no pixel, along the line between them. Of an
    object that a window shows as a whole, the piece whose own tile it is stays; others are put together.

    Args:
        pieces: Of all tiles; their order does not matter.
        plan: How the scene was cut.

    Returns:
        In the order of tiles; within a tile the surest first.
    """
    pieces = sorted(pieces, key=lambda piece: (piece.tile, -piece.score, piece.packed))
    objects = []
    for group in _groups(pieces, plan):
        members = [pieces[number] for number in group]
        whole = [piece for piece in members if not piece.cut]
        if whole:
            best = max(whole, key=lambda piece: (piece.own, piece.score))
            objects.append((min(group), Found(best.label, best.score, best.packed)))
        elif len(members) > 1:
            score = max(piece.score for piece in members)
            packed = pack(_union([piece.polygon for piece in members]))
            objects.append((min(group), Found(members[0].label, score, packed, len(members))))
        elif members[0].own:
            objects.append((group[0], Found(members[0].label, members[0].score, members[0].packed)))
    return [found for _, found in sorted(objects, key=lambda item: item[0])]


def _groups(pieces: Sequence[Piece], plan: TilePlan) -> Iterable[list[int]]:
    """Which pieces are one object, each in one group."""
    parent = list(range(len(pieces)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for one, other in _agreeing(pieces, plan):
        parent[root(other)] = root(one)
    groups: dict[int, list[int]] = {}
    for number in range(len(pieces)):
        groups.setdefault(root(number), []).append(number)
    return groups.values()


def _agreeing(pieces: Sequence[Piece], plan: TilePlan) -> list[tuple[int, int]]:
    """Pairs of pieces that are one object."""
    shapely = geo_library('shapely', 'Joining objects')
    # Those whose boxes do not meet need no look; the masks of others decide.
    shapes = shapely.box(*np.array([piece.polygon.bounds for piece in pieces]).reshape(-1, 4).T)
    tiles = np.array([piece.tile for piece in pieces], int)
    labels = np.array([piece.label for piece in pieces], int)
    one, other = shapely.STRtree(shapes).query(shapes, predicate='intersects')
    may = (tiles[one] < tiles[other]) & (labels[one] == labels[other])
    pairs = sorted(zip(one[may].tolist(), other[may].tolist(), strict=True))
    return [(a, b) for a, b in pairs if _agree(pieces[a], pieces[b], plan)]


def _agree(one: Piece, other: Piece, plan: TilePlan) -> bool:
    shapely = geo_library('shapely', 'Joining objects')
    x0, y0, x1, y1 = plan[one.tile].window.bounds
    left, top, right, bottom = plan[other.tile].window.bounds
    x0, y0, x1, y1 = max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)
    if x0 > x1 or y0 > y1:
        return False
    first, second = one.polygon, other.polygon
    if x0 == x1 or y0 == y1:
        if plan.overlap:  # another window shows what both sides of the line are
            return False
        shared = shapely.LineString([(x0, y0), (x1, y1)])
        measure = shapely.length
    else:
        shared = shapely.box(x0, y0, x1, y1)
        measure = shapely.area
    # What both have lies in both windows.
    both = measure(first.intersection(second))
    size = measure(first.intersection(shared)) + measure(second.intersection(shared)) - both
    return bool(both > 0 and both >= AGREE * size)


def _union(polygons: Sequence[Any]) -> Any:
    """Polygons along pixel edges as one, without the corners at which they were cut."""
    shapely = geo_library('shapely', 'Joining objects')
    return polygonal(shapely.simplify(shapely.union_all(polygons), 0))
