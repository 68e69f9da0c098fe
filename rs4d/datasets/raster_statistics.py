"""Statistics of the rasters of a data set, and the settings of a config that follow from them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rs4d.errors import ConfigError, some
from rs4d.geo.raster import Raster, within
from rs4d.geo.raster_file import RasterError
from rs4d.geo.statistics import BandStatistics
from rs4d.geo.stretch import WHITE, build_stretch
from rs4d.geo.window import grid

from .coco_file import read_coco
from .errors import DatasetNotFoundError

SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2', '.img', '.png', '.jpg', '.jpeg', '.nc', '.dat', '.bil')
"""Endings that are rasters in a folder; whatever GDAL reads may be named itself."""
BLOCK = 1024


@dataclass
class Measured:
    """What was found in rasters.

    Attributes:
        source: What they were asked for by.
        bands: The bands that were read, counted from 1.
        dtype: Of the values.
        is_complex: Whether these are amplitudes of complex ones.
        statistics: Of all valid pixels.
        valid_range: What was asked for.
        files: How many rasters were read.
        pixels: How many pixels they have.
        failures: Why others could not be read.
    """

    source: str
    bands: tuple[int, ...]
    dtype: np.dtype
    is_complex: bool
    statistics: BandStatistics
    valid_range: tuple[float, float] | None = None
    files: int = 0
    pixels: int = 0
    failures: list[str] = field(default_factory=list)


def raster_files(source: str, images: str | None = None) -> list[str]:
    """Find the rasters that a name stands for.

    Args:
        source: A raster, a folder of them, or a COCO annotation file, whose images they are.
        images: The folder that an annotation file's names start from; its own if None.

    Raises:
        DatasetNotFoundError: A folder has no raster, or an annotation file no image.
        AnnotationError: An annotation file is none.
    """
    path = Path(source)
    if path.suffix.lower() == '.json':
        folder = Path(images) if images else path.parent
        remedy = 'Correct the path.'
        files = [str(folder / image['file_name']) for image in read_coco(path, remedy)['images']]
    elif path.is_dir():
        found = sorted(file for file in path.rglob('*') if file.suffix.lower() in SUFFIXES)
        files = [str(file) for file in found if file.is_file()]
        # A folder may be a raster itself.
        files = files or [source]
    else:
        files = [source]
    if not files:
        raise DatasetNotFoundError(f"'{source}' names no image.")
    return files


def measure(
    source: str,
    images: str | None = None,
    bands: Sequence[int] | None = None,
    valid_range: tuple[float, float] | None = None,
) -> Measured:
    """Read rasters by windows and collect the statistics of their valid pixels.

    Args:
        source: See `raster_files`.
        images: Likewise.
        bands: Which, in which order; None for all but one of transparency.
        valid_range: Pixels of which all bands are outside are without data.

    Raises:
        RasterError: None of them can be read.
        ConfigError: They differ in type or in the number of bands, or no pixel is valid.
    """
    found: Measured | None = None
    failures = []
    files = raster_files(source, images)
    for file in files:
        try:
            with Raster.open(file) as raster:
                chosen = raster.chosen(bands)
                is_complex = 'complex' in raster.dataset.dtypes[0]
                if found is None:
                    statistics = BandStatistics(len(chosen), raster.dtype)
                    found = Measured(
                        source, chosen, raster.dtype, is_complex, statistics, valid_range
                    )
                _require_alike(found, raster, chosen, file, is_complex)
                for window in grid(raster.height, raster.width, BLOCK):
                    values, valid = raster.read(window, chosen)
                    found.statistics.update(values, valid & within(values, valid_range))
                found.files += 1
                found.pixels += raster.height * raster.width
        except RasterError as error:
            failures.append(str(error))
    if found is None or not found.files:
        raise RasterError(
            failures[0]
            if len(failures) == 1
            else f"None of the {len(files)} rasters of '{source}' can be read: {some(failures, 1)}"
        )
    found.failures = failures
    if not found.statistics.count:
        raise ConfigError(
            f"'{source}': no pixel of its {found.files} rasters is valid. See which value stands for no "
            'data (gdalinfo), and the range of --valid.'
        )
    return found


def settings(
    measured: Measured,
    kind: str | None = None,
    percentages: tuple[float, float] = (0.5, 99.5),
    amplitude: bool = False,
) -> dict[str, Any]:
    """What a config states: ``bands``, ``stretch``, ``band_mean`` and ``band_std``.

    Args:
        measured: The statistics.
        kind: Of the stretch: ``'linear'`` or ``'db'`` between percentiles, or ``'statistics'``. None
            leaves bytes as they are and is linear otherwise.
        percentages: What becomes black and white, in percent.
        amplitude: Whether decibels are of amplitudes; those of complex values always are.
    """
    statistics = measured.statistics
    low, high = statistics.percentiles(list(percentages))
    stretch: dict[str, Any]
    if kind is None and measured.dtype == np.uint8:
        stretch = dict(type='linear', low=0, high=int(WHITE))
    elif kind == 'statistics':
        stretch = dict(type=kind, mean=_short(statistics.mean), std=_short(statistics.std))
        stretch['std'] = [std or 1.0 for std in stretch['std']]
    elif kind == 'db':
        amplitude = amplitude or measured.is_complex
        factor = 20 if amplitude else 10
        tiny = np.finfo(np.float32).tiny
        low, high = (factor * np.log10(np.maximum(limit, tiny)) for limit in (low, high))
        # Below this a sensor's noise is not 0 by much, and zeros would be.
        low = np.maximum(low, high - 60)
        stretch = dict(type=kind, low=_short(low), high=_short(_above(low, high)))
        stretch['amplitude'] = amplitude
    else:
        stretch = dict(type='linear', low=_short(low), high=_short(_above(low, high)))
    mean, std = statistics.stretched(build_stretch(stretch))
    return dict(
        bands=measured.bands,
        stretch=stretch,
        band_mean=_short(mean),
        band_std=_short(np.maximum(std, 1.0)),
    )


def snippet(measured: Measured, stated: dict[str, Any], base: str | None = None) -> str:
    """The lines of a config that load such rasters and give them to a model.

    Args:
        measured: The statistics.
        stated: What `settings` returned.
        base: A config that they change; with it the lines are a config of their own.
    """
    share = measured.statistics.count / measured.pixels
    limits = '' if measured.valid_range is None else f', valid_range={measured.valid_range}'
    lines = [] if base is None else [f'_base_ = {base!r}', '']
    lines += [
        f'# {os.path.basename(measured.source)}: {measured.files} rasters of type {measured.dtype}, '
        f'{share:.1%} of their pixels with data.',
        *(f'{name} = {_written(value)}' for name, value in stated.items()),
        "load_image = dict(type='LoadRaster', bands='${bands}', stretch='${stretch}', "
        f"fill='${{band_mean}}'{limits})",
        "pad_val = dict(img='${band_mean}', masks=0)",
        'model = dict(',
        '    data_preprocessor=dict(',
        "        type='BandsDataPreprocessor',",
        "        mean='${band_mean}',",
        "        std='${band_std}',",
        '        bgr_to_rgb=False,',
        '    ),',
        f'    backbone=dict(in_channels={len(measured.bands)}),',
        ')',
    ]
    return '\n'.join(lines) + '\n'


def _require_alike(
    found: Measured, raster: Raster, bands: Sequence[int], file: str, is_complex: bool
) -> None:
    if (raster.dtype, tuple(bands), is_complex) != (found.dtype, found.bands, found.is_complex):
        raise ConfigError(
            f"'{file}' has the bands {tuple(bands)} of type {raster.dtype}, those before it "
            f'{found.bands} of type {found.dtype}. Name bands that all have, and measure types apart.'
        )


def _written(value: Any) -> str:
    """A value as configs are written."""
    if isinstance(value, dict):
        return f'dict({", ".join(f"{key}={item!r}" for key, item in value.items())})'
    return repr(value)


def _above(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Upper limits that are above the lower ones also where a band is flat."""
    return np.where(high > low, high, low + 1)


def _short(values: np.ndarray) -> list[float]:
    """Numbers of six digits, whole ones as such."""
    rounded = [float(f'{value:.6g}') for value in values]
    return [int(value) if value == int(value) else value for value in rounded]
