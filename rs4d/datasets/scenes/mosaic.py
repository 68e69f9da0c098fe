"""One large georeferenced scene of generated ones, with its truth as a layer."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from rs4d.errors import ConfigError
from rs4d.files import refuse_existing, written_whole
from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import Georeference
from rs4d.geo.layers import write_layer
from rs4d.geo.outlines import mask_to_polygon

from .generator import CLASSES, generate_scene

CELL = 256
# Half a metre a pixel, somewhere on the equator: UTM zone 31.
_PLACE = (0.5, 0.0, 500000.0, 0.0, -0.5, 100000.0)
_CODE = 32631


def write_mosaic(
    folder: str | os.PathLike[str],
    side: int = 4096,
    seed: int = 0,
    overwrite: bool = False,
    bits: int = 8,
) -> tuple[Path, Path]:
    """Write ``scene.tif``, a mosaic of generated scenes, and ``truth.gpkg``, the objects in it.

    Its scenes are of the split ``'val'``, from number 10,000 on, so that no set of an ordinary size
    shows them.

    Args:
        folder: Where they go.
        side: Height and width in pixels, a multiple of 256.
        seed: Another one draws another mosaic.
        overwrite: Replace earlier ones.
        bits: 8, or 16 for the same picture over the whole range of 16 bits.

    Raises:
        ConfigError: The side is no multiple of 256, or it is neither 8 nor 16 bits.
        ExistingFileError: One is there and ``overwrite`` is off.
        FileWriteError: The disk is full, or may not be written to.
    """
    if side < CELL or side % CELL:
        raise ConfigError(f'A mosaic of {side} pixels: the side is a multiple of {CELL}.')
    if bits not in (8, 16):
        raise ConfigError(f'A mosaic of {bits} bits: it has 8 or 16.')
    rasterio = geo_library('rasterio', 'Writing a scene')
    windows = geo_library('rasterio.windows', 'Writing a scene')
    affine = geo_library('affine', 'Writing a scene').Affine
    crs = geo_library('pyproj', 'Writing a scene').CRS.from_epsg(_CODE)
    scene_file, truth_file = Path(folder, 'scene.tif'), Path(folder, 'truth.gpkg')
    if not overwrite:
        refuse_existing(scene_file, truth_file)
    place = Georeference(affine(*_PLACE), crs)
    outlines: list[Any] = []
    classes: list[str] = []
    settings = dict(driver='GTiff', height=side, width=side, count=3, dtype=f'uint{bits}')
    settings |= dict(photometric='RGB', crs=crs.to_wkt(), transform=place.transform)
    with written_whole(scene_file) as part, rasterio.open(part, 'w', **settings) as file:
        for row in range(0, side, CELL):
            strip = np.empty((CELL, side, 3), np.uint8)
            for col in range(0, side, CELL):
                number = 10_000 + (row // CELL) * (side // CELL) + col // CELL
                scene = generate_scene(seed, number, 'val', CELL)
                strip[:, col : col + CELL] = scene.image
                outlines += [mask_to_polygon(mask, (col, row)) for mask in scene.masks]
                classes += [CLASSES[label] for label in scene.labels]
            window = windows.Window(0, row, side, CELL)
            values = strip if bits == 8 else strip.astype(np.uint16) * 257
            file.write(np.moveaxis(values, -1, 0), window=window)
    shapes = [place.to_map(outline) for outline in outlines]
    write_layer(truth_file, shapes, {'class': classes}, crs, styled_classes=CLASSES)
    return scene_file, truth_file
