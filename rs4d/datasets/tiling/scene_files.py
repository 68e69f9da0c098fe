"""Tiles of a scene, written with all that GDAL knows of it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rs4d.files import written_whole
from rs4d.geo.extra import geo_library
from rs4d.geo.raster import Raster
from rs4d.geo.window import Window


def write_tile(scene: Raster, window: Window, transform: Any, crs: Any, path: Path) -> bool:
    """Write a window as a GeoTIFF with its bands, type, nodata, masks, colours and place.

    Args:
        scene: Open.
        window: Inside of it.
        transform: Affine map of the window.
        crs: Coordinate system as rasterio takes it, or None.
        path: The file to write.

    Returns:
        False, and nothing is written, where no pixel of the window is valid.

    Raises:
        RasterError: The scene ends before the window does, or is damaged there.
    """
    rasterio = geo_library('rasterio', 'Writing a tile')
    dataset = scene.dataset
    with scene.reading(window) as part:
        valid = dataset.dataset_mask(window=part)
        if not valid.any():
            return False
        values = dataset.read(window=part)
    if values.dtype.kind in 'fc' and not np.isfinite(values).any():
        return False
    profile = dict(
        driver='GTiff',
        height=window.height,
        width=window.width,
        count=dataset.count,
        dtype=dataset.dtypes[0],
        nodata=dataset.nodata,
        transform=transform,
        crs=crs,
        compress='deflate',
        interleave='pixel',
    )
    flags = {flag.name for band in dataset.mask_flag_enums for flag in band}
    masked = 'per_dataset' in flags and 'alpha' not in flags
    with written_whole(path) as target:
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(target, 'w', **profile) as tile:
                tile.write(values)
                tile.colorinterp = dataset.colorinterp
                tile.descriptions = dataset.descriptions
                tile.scales, tile.offsets = dataset.scales, dataset.offsets
                if dataset.colorinterp[0] == rasterio.enums.ColorInterp.palette:
                    tile.write_colormap(1, dataset.colormap(1))
                if masked:
                    tile.write_mask(valid)
        for aside in target.parent.glob(f'{target.name}.*'):
            aside.unlink()
    return True
