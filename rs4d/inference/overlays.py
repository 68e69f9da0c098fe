"""Pictures of scenes with what was found in them."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rs4d.datasets.image_reading import turned
from rs4d.datasets.transforms import LoadRaster
from rs4d.datasets.transforms.load_raster import first_three
from rs4d.files import write_bytes
from rs4d.geo.raster import Raster
from rs4d.geo.stretch import Percentile

from .joining import Found
from .scene import Scene

MAX_PIXELS = 2048**2
MIN_SIDE = 512


def write_overlay(path: Path, scene: Scene, found: Sequence[Found], loader: Any = None) -> None:
    """Draw the outlines of objects over a scene, reduced to about 2048 pixels square.

    Args:
        path: A ``.png``.
        scene: Of which.
        found: Its objects.
        loader: A ``LoadRaster`` whose bands and stretch are shown; else it is the first bands.

    Raises:
        RasterError: The scene cannot be read.
        FileWriteError: The picture cannot be written.
    """
    picture = cv2.cvtColor(_picture(scene, loader), cv2.COLOR_RGB2BGR)
    factor = max(1, -(-MIN_SIDE // max(picture.shape[:2])))
    if factor > 1:
        picture = np.ascontiguousarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))
    scale = np.array([picture.shape[1] / scene.plan.width, picture.shape[0] / scene.plan.height])
    filled = picture.copy()
    outlines = [(_rings(one.polygon, scale), _colour(one.label)) for one in found]
    for rings, colour in outlines:
        # In sixteenths of a pixel.
        cv2.fillPoly(filled, rings, colour, lineType=cv2.LINE_AA, shift=4)
    picture = cv2.addWeighted(picture, 0.65, filled, 0.35, 0)
    for rings, colour in outlines:
        cv2.polylines(picture, rings, True, colour, 1, cv2.LINE_AA, shift=4)
    write_bytes(path, cv2.imencode('.png', picture)[1].tobytes())


def _picture(scene: Scene, loader: Any) -> np.ndarray:
    """The scene, reduced, (H, W, 3) uint8 in RGB."""
    with Raster.open(scene.path) as raster:
        bands = loader.bands if isinstance(loader, LoadRaster) else None
        values, valid = raster.read_reduced(MAX_PIXELS, bands)
        if isinstance(loader, LoadRaster):
            stretched = loader.prepare(values, valid, loader.stretch.for_raster(raster, bands))
        elif values.dtype == np.uint8:
            stretched = values * np.uint8(255 // raster.white)
        else:
            stretched = Percentile()(values, valid)
    return turned(first_three(stretched), scene.orientation)


def _rings(polygon: Any, scale: np.ndarray) -> list[np.ndarray]:
    return [
        np.rint((np.asarray(ring.coords) * scale - 0.5) * 16).astype(np.int32)
        for part in polygon.geoms
        for ring in (part.exterior, *part.interiors)
    ]


def _colour(label: int) -> tuple[int, int, int]:
    """BGR; neighbouring labels are far from each other, as in the GeoPackage's style."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.381966 % 1, 0.85, 0.95)
    return round(blue * 255), round(green * 255), round(red * 255)
