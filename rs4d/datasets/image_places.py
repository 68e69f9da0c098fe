"""Where images lie beside each other: by what an annotation file says, or by their georeference."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import GeoreferenceError
from rs4d.geo.raster import Raster
from rs4d.geo.window import Window

from .tiling.plan import Tile

_RASTERS = ('.tif', '.tiff', '.jp2', '.vrt', '.img')


def places_of(
    entries: Sequence[Mapping[str, Any]], paths: Sequence[str | os.PathLike[str]]
) -> list[Tile] | None:
    """Find the places of images in common pixels.

    Args:
        entries: The images of an annotation file; ``scene`` and ``window`` (row, column, height,
            width) of :func:`rs4d.datasets.tiling.tiler.tile` say where they lie.
        paths: Their files, rasters of one coordinate system; none if they are not to be read.

    Returns:
        A tile for each image, of which each counts as one with objects; None if not all have a place.
    """
    if all('scene' in entry and 'window' in entry for entry in entries):
        numbers: dict[Any, int] = {}
        return [
            Tile(numbers.setdefault(e['scene'], len(numbers)), Window(*e['window']), 1)
            for e in entries
        ]
    if not paths or not all(str(path).lower().endswith(_RASTERS) for path in paths):
        return None
    return _by_georeference(paths)


def _by_georeference(paths: Sequence[str | os.PathLike[str]]) -> list[Tile] | None:
    shapely = geo_library('shapely', 'Dividing images by their places')
    systems: list[Any] = []
    numbers, bounds, pixels = [], [], []
    for path in paths:
        with Raster.open(path) as raster:
            try:
                place = raster.georeference
            except GeoreferenceError:  # one that gives no rectangle on a map
                return None
            height, width = raster.height, raster.width
        if place is None:
            return None
        frame = place.to_map(shapely.box(0, 0, width, height))
        if place.crs not in systems:
            systems.append(place.crs)
        numbers.append(systems.index(place.crs))
        bounds.append(frame.bounds)
        pixels.append(np.sqrt(frame.area / (height * width)))
    x0, y0, x1, y1 = np.array(bounds).T / np.median(pixels)
    cols, rows = x0 - x0.min(), y0 - y0.min()
    found = np.round(np.c_[rows, cols, y1 - y0, x1 - x0]).astype(int)
    return [Tile(n, Window(*map(int, row)), 1) for n, row in zip(numbers, found, strict=True)]
