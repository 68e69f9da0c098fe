"""Windows of a raster, as the config's loading step gives images to the model."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from rs4d.datasets.image_reading import read_header, stored_points, turned
from rs4d.datasets.transforms import LoadRaster
from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import Georeference
from rs4d.geo.raster import Raster
from rs4d.geo.raster_file import RasterError, is_local
from rs4d.geo.window import Window

_SAMPLE = 2**20
_IN_RANGE = 99.9


def orientation_of(path: str | os.PathLike[str], loader: Any) -> int:
    """EXIF's orientation that a config's loading step undoes; ``LoadRaster`` undoes none."""
    if isinstance(loader, LoadRaster) or not is_local(os.fspath(path)):
        return 1
    header = read_header(path)
    return header.orientation if header else 1


def upright_place(
    place: Georeference | None, orientation: int, height: int, width: int
) -> Georeference | None:
    """Where an image lies once it is upright.

    Args:
        place: Of the pixels as they are stored.
        orientation: EXIF's, which is undone.
        height: Rows of the upright image.
        width: Its columns.
    """
    if place is None or orientation == 1:
        return place
    corners = np.array([(0, 0), (1, 0), (0, 1)], float)
    (c, f), (x, y), (u, v) = stored_points(corners, orientation, height, width).tolist()
    affine = geo_library('affine', 'Placing an image').Affine
    return Georeference(place.transform @ affine(x - c, u - c, c, y - f, v - f, f), place.crs)


class WindowReader:
    """Reads windows of one raster; what belongs to the whole raster is settled once.

    Args:
        raster: Open.
        loader: The first step of the config's test pipeline. Steps other than ``LoadRaster`` load images
            of 8 bits in BGR, and so do windows then; 16-bit values keep the bits that the raster uses.
        orientation: EXIF's, of a picture whose windows are those of what is upright.

    Raises:
        RasterError: The raster's values are no images for such a step, or cannot be read.
    """

    def __init__(self, raster: Raster, loader: Any, orientation: int = 1) -> None:
        self._raster = raster
        self._orientation = orientation
        self._loader = loader if isinstance(loader, LoadRaster) else None
        self._shift = 0
        self._white = 255
        self.bands: Sequence[int]
        if self._loader is not None:
            self.bands = raster.chosen(self._loader.bands)
            self._stretch = self._loader.stretch.for_raster(raster, self._loader.bands)
            return
        if raster.dtype not in (np.uint8, np.uint16, np.int16):
            raise RasterError(
                f"'{raster.path}' has values of type {raster.dtype}, and the config loads images of 8 "
                'bits. Train with LoadRaster (docs/rasters.md), or make 8-bit values, for example '
                'with gdal_translate -ot Byte -scale.'
            )
        self.bands = raster.bands[:3] if len(raster.bands) >= 3 else raster.bands[:1] * 3
        if raster.dtype != np.uint8:
            values, valid = raster.read_reduced(_SAMPLE, self.bands)
            seen = values[valid]
            seen = seen[seen > 0]
            top = int(np.percentile(seen, _IN_RANGE, method='lower')) if seen.size else 0
            bits = getattr(loader, 'bits', None) or top.bit_length()
            self._shift = max(bits - 8, 0)
        else:
            self._white = raster.white

    def read(self, window: Window) -> np.ndarray | None:
        """Load a window, (H, W, C); None if none of its pixels has data.

        Raises:
            RasterError: The raster is damaged there.
        """
        if self._loader is not None:
            values, valid = self._loader.read(self._raster, window)
            return self._loader.prepare(values, valid, self._stretch) if valid.any() else None
        # As BGR; to turn the bands round later would take as long as to read them.
        values, valid = self._raster.read(self._stored(window), self.bands[::-1])
        if not valid.any():
            return None
        values = turned(values, self._orientation)
        if values.dtype != np.uint8:
            signed = values.dtype.kind == 'i'
            values = (values.clip(0) if signed else values) >> self._shift
            values = values.clip(max=255).astype(np.uint8)
        elif self._white != 255:
            values = values * np.uint8(255 // self._white)
        return values

    def _stored(self, window: Window) -> Window:
        """Where a window of the upright picture lies in the file."""
        if self._orientation == 1:
            return window
        upright = self._raster.height, self._raster.width
        upright = upright[::-1] if self._orientation >= 5 else upright
        left, top, right, bottom = window.bounds
        ends = stored_points(np.array([(left, top), (right, bottom)]), self._orientation, *upright)
        (col, row), (right, bottom) = ends.min(axis=0).tolist(), ends.max(axis=0).tolist()
        return Window(row, col, bottom - row, right - col)
