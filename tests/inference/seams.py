"""Scenes of any size with objects on the seams between windows: what may be doubled, cut or lost."""

from collections.abc import Iterator

import numpy as np

from rs4d.inference.tiles import TilePlan

LAST = 65535


def draw_seams(ids, plan: TilePlan, rng, on_seams: int, elsewhere: int = 0) -> dict[str, int]:
    """Draw connected objects, each with a number of its own, into an array of background 1.

    Their sides are from one pixel to three windows, those around the overlap more often; they are
    rectangles, ellipses, frames, angles and slanting bands, some with another one of the same class
    right beside them, some at the edges of the scene.

    Returns:
        How many there are in all, on seams, with holes, larger than the overlap, with a neighbour of
        the same class that they touch, and at the scene's edges.
    """
    sides = _sides(plan)
    counts = dict.fromkeys(('all', 'on seams', 'holes', 'large', 'touching', 'at edges'), 0)
    rows, cols = (_seams(plan, axis) for axis in (0, 1))
    number = 2
    attempts = 0
    while counts['on seams'] < on_seams or counts['all'] - counts['on seams'] < elsewhere:
        attempts += 1
        assert attempts < 200 * (on_seams + elsewhere), counts
        height, width = (int(side) for side in rng.choice(sides, 2))
        height, width = min(height, ids.shape[0]), min(width, ids.shape[1])
        mask, hole = _shape(rng, height, width)
        wanted = counts['on seams'] < on_seams
        row, col = _place(rng, ids.shape, (height, width), rows, cols, wanted)
        if not _draw(ids, mask, row, col, number):
            continue
        number += 1
        placed = [(row, col, hole)]
        if rng.random() < 0.4:
            # Of the same class: numbers of one class are all even or all odd.
            beside = (row, col + width) if rng.random() < 0.5 else (row + height, col)
            if _draw(ids, np.ones((height, width), bool), *beside, number + 1):
                placed.append((*beside, False))
                number += 2
                counts['touching'] += 1
        for top, left, holed in placed:
            crossing = _crosses(rows, top, height) or _crosses(cols, left, width)
            counts['all'] += 1
            counts['on seams'] += crossing
            counts['holes'] += holed
            counts['large'] += max(height, width) > plan.overlap
            edges = top == 0 or left == 0
            counts['at edges'] += (
                edges or top + height == ids.shape[0] or left + width == ids.shape[1]
            )
        assert number < LAST, counts
    return counts


def _sides(plan: TilePlan) -> list[int]:
    """Sides of objects, the critical ones among them; small ones most often."""
    overlap, size = plan.overlap, plan.size
    near = [side for side in range(overlap - 6, overlap + 7) if side > 0]
    small = [1, 2, 3, 5, 9, overlap // 4, overlap // 3, overlap // 2, 3 * overlap // 4] * 4
    return small + near + [2 * overlap, size - 3, size, size + 5, 2 * size, 3 * size]


def _shape(rng, height: int, width: int) -> tuple[np.ndarray, bool]:
    """A connected mask that fills its box, and whether it has a hole."""
    y, x = np.mgrid[:height, :width]
    mask = np.ones((height, width), bool)
    kind = rng.integers(5)
    side = min(height, width)
    if kind == 1 and side > 2:
        far = ((y + 0.5) / height - 0.5) ** 2 + ((x + 0.5) / width - 0.5) ** 2
        mask = far <= 0.25
        # Of slender ones the ends are thin: columns and rows of the middle keep it in one part.
        mask[height // 2] = mask[:, width // 2] = True
    elif kind == 2 and side > 4:
        rim = max(1, side // 5)
        mask[rim:-rim, rim:-rim] = False
        return mask, True
    elif kind == 3 and side > 3:
        mask[: height - side // 3, : width - side // 3] = False
    elif kind == 4 and side > 6:
        mask = np.abs(y / (height - 1) - x / (width - 1)) <= 3 / side
    return mask, False


def _place(rng, shape, box, rows, cols, wanted) -> tuple[int, int]:
    """A place for a box: over a seam, over a crossing of two, at an edge of the scene, or anywhere."""
    place = [
        int(rng.integers(0, length - side + 1)) for length, side in zip(shape, box, strict=True)
    ]
    axes = [[0], [1], [0, 1]][rng.integers(3)] if wanted else []
    for axis in axes:
        seam = int(rng.choice((rows, cols)[axis]))
        place[axis] = seam - int(rng.integers(0, box[axis] + 1))
    if rng.random() < 0.05:
        axis = rng.integers(2)
        place[axis] = int(rng.choice([0, shape[axis] - box[axis]]))
    return min(max(place[0], 0), shape[0] - box[0]), min(max(place[1], 0), shape[1] - box[1])


def _draw(ids, mask, row, col, number) -> bool:
    """Draw an object unless something is there already."""
    height, width = mask.shape
    if row + height > ids.shape[0] or col + width > ids.shape[1]:
        return False
    place = ids[row : row + height, col : col + width]
    if (place[mask] != 1).any():
        return False
    place[mask] = number
    return True


def _seams(plan: TilePlan, axis: int) -> list[int]:
    """Where cores meet, along one axis."""
    return sorted({_start(tile.core, axis) for tile in plan} - {0})


def _start(core, axis: int) -> int:
    return (core.row, core.col)[axis]


def _crosses(seams: list[int], begin: int, length: int) -> bool:
    return any(begin < seam < begin + length for seam in seams)


def outlines(ids) -> Iterator[tuple[int, object]]:
    """Each object's number and its outline by shapely, with nothing of rs4d in between."""
    import rasterio.features
    import shapely

    parts: dict[int, list] = {}
    for shape, number in rasterio.features.shapes(ids, mask=ids > 1, connectivity=4):
        rings = shape['coordinates']
        parts.setdefault(int(number), []).append(shapely.Polygon(rings[0], rings[1:]))
    for number, polygons in parts.items():
        yield number, shapely.union_all(polygons)
