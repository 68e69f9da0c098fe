"""Polygons as COCO writes them, and back, without a loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from rs4d.geo.extra import geo_library
from rs4d.geo.outlines import mask_to_polygon, polygon_to_mask, polygonal
from rs4d.geo.window import Window

from ..errors import AnnotationError
from ..masks import encode_rle

DECIMALS = 6
"""Digits behind the point of a pixel coordinate: pieces of one object fit without a gap."""
OUTLINE = 'outline'
"""Key of an annotation with the exact polygons where COCO's can't say them: those with holes."""
OBJECT = 'object'
"""Key of an annotation with the number of the feature that it is a piece of."""
REST = 'rest'
"""Key of an annotation file with what no tile shows of its objects, in pixels of their scenes."""
MIN_PIECE = 0.01
"""Square pixels below which a piece of an object is none."""


def pieces(
    polygons: np.ndarray, tree: Any, window: Window, min_visible: float
) -> list[tuple[int, Any, bool]]:
    """What a window shows of polygons.

    Args:
        polygons: (N,) valid MultiPolygons in pixel coordinates of the scene.
        tree: shapely's STRtree of them.
        window: The window.
        min_visible: Share of a polygon's area below which what is seen of it is a crowd.

    Returns:
        For each: the polygon's number, the MultiPolygon in the window's own pixel coordinates, and
        whether it is to be ignored (``iscrowd``).
    """
    shapely = geo_library('shapely', 'Cutting labels into tiles')
    frame = shapely.box(*window.bounds)
    found = []
    for number in sorted(tree.query(frame).tolist()):
        polygon = polygons[number]
        inside = polygon if frame.contains(polygon) else polygonal(polygon.intersection(frame))
        if inside.area < MIN_PIECE:
            continue
        shift = np.array([window.col, window.row])
        piece = shapely.transform(inside, lambda xy, shift=shift: np.round(xy - shift, DECIMALS))
        found.append((number, polygonal(piece), inside.area < min_visible * polygon.area))
    return found


def to_coco(polygon: Any, height: int, width: int) -> dict[str, Any]:
    """The geometry of an annotation.

    Args:
        polygon: MultiPolygon in the image's pixel coordinates.
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        ``segmentation``, ``bbox`` and ``area``. Polygons of floating-point coordinates; with holes,
        which COCO's polygons can't say, run lengths, and the polygons under ``outline``.
    """
    x0, y0, x1, y1 = polygon.bounds
    record = {'bbox': [x0, y0, x1 - x0, y1 - y0], 'area': polygon.area}
    rings = to_rings(polygon)
    if all(len(part) == 1 for part in rings):
        return {'segmentation': [part[0] for part in rings]} | record
    mask = polygon_to_mask(polygon, height, width)
    # Smaller than a pixel, the outer rings are nearer than an empty mask.
    shape = encode_rle(mask) if mask.any() else [part[0] for part in rings]
    return {'segmentation': shape, OUTLINE: rings} | record


def to_rings(polygon: Any) -> list[list[list[float]]]:
    """The parts of a MultiPolygon, each its outer ring and its holes as x, y, x, y, ..."""
    return [
        [np.asarray(ring.coords)[:-1].ravel().tolist() for ring in (part.exterior, *part.interiors)]
        for part in polygon.geoms
    ]


def rests(polygons: np.ndarray, windows: Sequence[Window]) -> list[tuple[int, Any]]:
    """What no window shows of polygons that some window shows, so that they can be whole again.

    Returns:
        Numbers of polygons, and MultiPolygons in pixel coordinates of the scene.
    """
    shapely = geo_library('shapely', 'Cutting labels into tiles')
    frames = np.array([shapely.box(*window.bounds) for window in windows], dtype=object)
    tree = shapely.STRtree(frames)
    found = []
    for number, polygon in enumerate(polygons):
        near = frames[tree.query(polygon)]
        rest = polygon.difference(shapely.union_all(near)) if len(near) else polygon
        if MIN_PIECE < rest.area < polygon.area:
            found.append((number, polygonal(rest)))
    return found


def from_coco(annotation: Mapping[str, Any], height: int, width: int) -> Any:
    """The polygon of an annotation or of a result, in the image's pixel coordinates.

    Raises:
        AnnotationError: It has no segmentation that can be read.
    """
    shapely = geo_library('shapely', 'Reading annotations')
    where = f'annotation {annotation.get("id", "of a result")} (image {annotation.get("image_id")})'
    shape = annotation.get(OUTLINE, annotation.get('segmentation'))
    try:
        if isinstance(shape, dict):
            counts = shape['counts']
            if isinstance(counts, list):
                shape = coco_mask.frPyObjects(shape, height, width)
            return mask_to_polygon(coco_mask.decode(shape))
        if not shape:
            raise ValueError('there is none')
        parts = [part if OUTLINE in annotation else [part] for part in shape]
        rings = [[np.reshape(ring, (-1, 2)) for ring in part] for part in parts]
        valid = [polygonal(shapely.Polygon(part[0], part[1:])) for part in rings]
        return polygonal(shapely.MultiPolygon([p for part in valid for p in part.geoms]))
    except (ValueError, TypeError, KeyError, shapely.errors.ShapelyError) as error:
        raise AnnotationError(
            f"The segmentation of {where} cannot be read: {error}. 'rs4d check' looks for more."
        ) from error
