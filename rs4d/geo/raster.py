"""Rasters, read by windows: values, and which of them mean something."""

import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .extra import geo_library
from .georeference import Georeference
from .raster_file import (
    RasterError,
    file_of,
    is_local,
    numpy_type,
    require_bands,
    require_data,
    require_file,
)
from .window import Window

CACHE_BYTES = 256 * 2**20
"""The most memory in which GDAL keeps blocks of all rasters of a process, unless GDAL_CACHEMAX says
another."""
LEAST_CACHE_BYTES = 64 * 2**20
"""What it has in any case."""
_CACHE_MARGIN = 1.25

_REMOTE = {
    # Not the whole folder that it lies in.
    'GDAL_DISABLE_READDIR_ON_OPEN': 'TRUE',
    # Servers are busy at times; one that says nothing for a minute is taken for gone.
    'GDAL_HTTP_MAX_RETRY': '4',
    'GDAL_HTTP_RETRY_DELAY': '0.5',
    'GDAL_HTTP_CONNECTTIMEOUT': '30',
    'GDAL_HTTP_LOW_SPEED_LIMIT': '1',
    'GDAL_HTTP_LOW_SPEED_TIME': '60',
}


class Raster:
    """An open raster; a context manager.

    Reads take turns, so that one thread may read while another asks for the size or reads, too. A
    process that is forked opens its own.

    Attributes:
        path: What was opened.
        height: Rows.
        width: Columns.
        count: Bands, one of transparency among them; three of a palette, whose colours are read.
        bands: The bands that are read unless others are asked for, counted from 1: all but one of
            transparency, which says what is valid.
        dtype: Of the values that are read: the file's, and float32 for complex ones.
        nodata: The value that stands for no data in the first band, or None.
        dataset: Rasterio's, for what is not here.
    """

    def __init__(self, dataset: Any, path: str) -> None:
        self.dataset = dataset
        self.path = path
        self.height: int = dataset.height
        self.width: int = dataset.width
        self._palette = _palette(dataset)
        self.count: int = dataset.count if self._palette is None else 3
        self.nodata: float | None = dataset.nodata
        alphas = [
            band
            for band, meaning in enumerate(dataset.colorinterp, 1)
            if meaning.name == 'alpha' and dataset.count > 1
        ]
        self._alpha = alphas[0] if alphas else None
        self.bands = tuple(band for band in range(1, self.count + 1) if band not in alphas)
        self._stored = np.result_type(*(numpy_type(name) for name in dataset.dtypes))
        self.dtype = np.dtype(np.float32) if self._stored.kind == 'c' else self._stored
        if self._palette is not None:
            self.dtype = self._palette.dtype
        self._local = file_of(path) is not None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> 'Raster':
        """Open a raster of any format that GDAL reads.

        Args:
            path: A file, a folder of a format that is one, a data set in a file as GDAL names it
                (``NETCDF:"a.nc":band``), an address (``http(s)://``, ``s3://``), or one of GDAL's own
                (``/vsicurl/...``).

        Raises:
            RasterError: It is not there, has no bytes, is no raster, is cut off, or declares more
                pixels than it has data for.
        """
        rasterio = geo_library('rasterio', 'Reading a raster')
        name = os.fspath(path)
        local = is_local(name)
        if local:
            require_file(name)
        try:
            with _gdal(file_of(name) is not None), warnings.catch_warnings():
                warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
                dataset = rasterio.open(name)
        except rasterio.errors.RasterioIOError as error:
            kind = 'is a folder, and' if local and Path(name).is_dir() else 'is'
            raise RasterError(f"'{name}' {kind} no raster that GDAL can read: {error}.") from error
        try:
            require_bands(dataset, name)
            if local and dataset.driver == 'GTiff':
                require_data(dataset, name)
            return cls(dataset, name)
        except BaseException:
            dataset.close()
            raise

    def __enter__(self) -> 'Raster':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self.dataset.close()

    @cached_property
    def georeference(self) -> Georeference | None:
        """Where it lies, None for a picture; see `Georeference.from_dataset`.

        Raises:
            GeoreferenceError: It says so in a way that cannot be followed.
        """
        return Georeference.from_dataset(self.dataset)

    @property
    def white(self) -> int:
        """The largest value that bytes can have: 1 or 15 where the file keeps fewer bits of them."""
        bits = self.dataset.tags(1, ns='IMAGE_STRUCTURE').get('NBITS', 8)
        return 255 if self._palette is not None else int(2 ** min(int(bits), 8) - 1)

    def read(
        self, window: Window, bands: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read a window, which may reach over the raster's edges or lie beyond them.

        A pixel is valid where it lies in the raster, its mask or transparency says so, one of the bands
        is not nodata, and none is NaN or infinite.

        Args:
            window: In pixels of the raster.
            bands: Which, in which order, counted from 1; :attr:`bands` if None. A band of transparency
                that is among them is data like the others, and masks nothing.

        Returns:
            Values (H, W, C) of :attr:`dtype`, of complex ones the amplitude, and whether each pixel is
            valid, (H, W) bool. Values of invalid pixels are what the file has there, and 0 outside.

        Raises:
            RasterError: A band does not exist, or the file ends before the window or is damaged there.
        """
        bands = self.chosen(bands)
        inner = window.clipped(self.height, self.width)
        if inner == window:
            return self._read(window, bands)
        values = np.zeros((window.height, window.width, len(bands)), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        if inner.height and inner.width:
            row, col = inner.row - window.row, inner.col - window.col
            place = slice(row, row + inner.height), slice(col, col + inner.width)
            values[place], valid[place] = self._read(inner, bands)
        return values, valid

    def read_reduced(
        self, max_pixels: int, bands: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read the whole raster at a size of ``max_pixels`` at most, from its overviews if it has any.

        Pixels are picked, not averaged. Arguments, results and errors are otherwise those of `read`.
        """
        shrink = min(1.0, math.sqrt(max_pixels / (self.height * self.width)))
        shape = max(1, int(self.height * shrink)), max(1, int(self.width * shrink))
        whole = Window(0, 0, self.height, self.width)
        return self._read(whole, self.chosen(bands), shape)

    def chosen(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        """The numbers of bands, those of the raster for None.

        Raises:
            RasterError: One does not exist.
        """
        if bands is None:
            return self.bands
        if not bands or min(bands) < 1 or max(bands) > self.count:
            raise RasterError(
                f"'{self.path}' has {self.count} bands, counted from 1, and {tuple(bands)} are asked "
                'for. Correct the bands.'
            )
        return tuple(bands)

    def cache_bytes(self, rows: int) -> int:
        """Memory for the blocks that windows of so many rows, side by side, have in common.

        With less, strips would be read and unpacked again for each of the windows.
        """
        height, width = self.dataset.block_shapes[0]
        blocks = -(-(rows - 1) // height) + 1, -(-self.width // width)
        pixels = math.prod(blocks) * height * width
        size = int(_CACHE_MARGIN * pixels * self.dataset.count * self._stored.itemsize)
        return min(max(size, LEAST_CACHE_BYTES), CACHE_BYTES)

    @contextmanager
    def reading(self, window: Window) -> Iterator[Any]:
        """Take the turn to read, and say in a sentence what GDAL finds wrong in a window.

        Yields:
            The window as rasterio's.

        Raises:
            RasterError: The file ends before the window or is damaged there.
        """
        rasterio = geo_library('rasterio', 'Reading a raster')
        windows = geo_library('rasterio.windows', 'Reading a raster')
        try:
            with self._lock, _gdal(self._local, self.cache_bytes(window.height)):
                yield windows.Window(window.col, window.row, window.width, window.height)
        except rasterio.errors.RasterioIOError as error:
            raise RasterError(
                f"'{self.path}' cannot be read at row {window.row}, column {window.col}: it is "
                f'truncated or damaged ({_reason(error)}). Fetch it again.'
            ) from error

    def _read(
        self, window: Window, bands: Sequence[int], shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read a window within the raster, at another size if ``shape`` says one."""
        stored = bands if self._palette is None else (1,)
        with self.reading(window) as part:
            size = None if shape is None else (len(stored), *shape)
            where = dict(window=part, out_shape=size)
            values = self.dataset.read(list(stored), out_dtype=self._stored, **where)
            valid = self._valid(values, stored, where)
        if self._palette is not None:
            colours = self._palette[values[0]]
            return np.ascontiguousarray(colours[..., np.array(bands) - 1]), valid & (
                colours[..., 3] != 0
            )
        if values.dtype.kind == 'c':
            values = np.abs(values).astype(np.float32)
        if values.dtype.kind == 'f':
            valid = valid & np.isfinite(values).all(axis=0)
        return interleaved(values), valid

    def _valid(self, values: np.ndarray, bands: Sequence[int], where: dict[str, Any]) -> np.ndarray:
        """What masks, transparency and nodata say of values (C, H, W); (H, W) bool."""
        flags = {flag.name for band in bands for flag in self.dataset.mask_flag_enums[band - 1]}
        if self._alpha is not None and self._alpha not in bands:
            size = where['out_shape'] and where['out_shape'][1:]
            return self.dataset.read(self._alpha, window=where['window'], out_shape=size) != 0
        whole = np.ones(values.shape[1:], bool)
        if 'nodata' in flags and self._stored.kind == 'c':
            # GDAL would compare the real parts.
            nodata = [self.dataset.nodatavals[band - 1] for band in bands]
            pairs = zip(values, nodata, strict=True)
            return np.any([whole if no is None else band != no for band, no in pairs], axis=0)
        masked = 'nodata' in flags or ('per_dataset' in flags and 'alpha' not in flags)
        if not masked:
            return whole
        with warnings.catch_warnings():
            # That transparency does not count where there is a value for no data is known.
            shadow = geo_library('rasterio.errors', 'Reading a raster').NodataShadowWarning
            warnings.simplefilter('ignore', shadow)
            return (self.dataset.read_masks(list(bands), **where) != 0).any(axis=0)


def interleaved(bands: np.ndarray) -> np.ndarray:
    """Bring bands (C, H, W) into one array of pixels (H, W, C).

    Band by band, which takes a tenth of the time that NumPy's copy of a moved axis does.
    """
    pixels = np.empty((*bands.shape[1:], len(bands)), bands.dtype)
    for number, band in enumerate(bands):
        pixels[..., number] = band
    return pixels


def within(values: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """Where a band or more of values (H, W, C) lie between two limits, (H, W) bool; None has none."""
    if limits is None:
        return np.ones(values.shape[:2], bool)
    return np.any((values >= limits[0]) & (values <= limits[1]), axis=-1)


@contextmanager
def _gdal(local: bool, cache_bytes: int = LEAST_CACHE_BYTES) -> Iterator[None]:
    """GDAL's settings while it reads."""
    rasterio = geo_library('rasterio', 'Reading a raster')
    # What is missing of a JPEG would come as grey.
    options: dict[str, Any] = dict(GDAL_ERROR_ON_LIBJPEG_WARNING=True)
    if 'GDAL_CACHEMAX' not in os.environ:
        options['GDAL_CACHEMAX'] = cache_bytes
    if not local:
        options |= {name: text for name, text in _REMOTE.items() if name not in os.environ}
    with rasterio.Env(**options):
        yield


def _reason(error: BaseException) -> str:
    """What GDAL said first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).rstrip('.')


def _palette(dataset: Any) -> np.ndarray | None:
    """Red, green, blue and transparency (N, 4) uint8 by the values of a single band of a palette."""
    of_palette = dataset.count == 1 and dataset.colorinterp[0].name == 'palette'
    if not of_palette or dataset.dtypes[0] not in ('uint8', 'uint16'):
        return None
    size = 2 ** (8 * np.dtype(dataset.dtypes[0]).itemsize)
    # What the palette does not name is transparent.
    table = np.zeros((size, 4), np.uint8)
    for value, colour in dataset.colormap(1).items():
        table[value] = colour
    return table
