"""Whether a file can be the raster that it declares."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np

from rs4d.errors import UserError, some

MAX_BLOCK_BYTES = 2**30
"""The largest piece that may have to be read and unpacked for one pixel."""


class RasterError(UserError, OSError):
    """A raster is not there, is none, or does not hold what it declares."""


def is_local(name: str) -> bool:
    """Whether a raster's name is a path of this machine, and no address or part of a file."""
    if name.startswith('/vsi'):
        return False
    if os.path.lexists(name):
        return True
    return '://' not in name and not re.match(r'[A-Z][A-Z0-9_]+:', name) and not _holder(name)


def file_of(name: str) -> str | None:
    """The file of this machine that a raster's name is, or is a part of; None of an address."""
    return name if is_local(name) else _holder(name)


def short_name(name: str) -> str:
    """A raster's name without folder and ending, or an address's query, which may hold a key.

    Of a part of a file it also says which: ``a_wind`` for ``NETCDF:"a.nc":wind``.
    """
    if is_local(name):
        return Path(name).stem
    holder = _holder(name)
    if holder is None:
        return Path(re.split('[?#]', name)[0]).stem
    part = name.split(':', 1)[1].replace(holder, '')
    return '_'.join([Path(holder).stem, *re.findall(r'\w+', part)])


def _holder(name: str) -> str | None:
    """The file of a data set that GDAL names with it: NETCDF:"a.nc":band, GTIFF_DIR:2:a.tif.

    Formats are named in small letters, too, where rasterio lists what a file holds.
    """
    match = re.match(r'[A-Za-z][A-Za-z0-9_]+:(.+)', name)
    pieces = re.findall(r'[^:"]+(?=")|[^:"]+', match[1]) if match else ()
    return max(filter(os.path.exists, pieces), key=len, default=None)


def numpy_type(name: str) -> np.dtype:
    """NumPy's type for one of GDAL's."""
    return np.dtype('complex64' if name == 'complex_int16' else name)


def require_file(name: str) -> None:
    """Raise unless there is something to read under a name of this machine."""
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RasterError(
            f"'{name}' is not there (working directory '{Path.cwd()}'). Correct the path."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise RasterError(f"'{name}' cannot be looked at: {reason}. Correct the path.") from error
    if not os.access(name, os.R_OK):
        raise RasterError(
            f"'{name}' may not be read by this user. Have its owner allow it (chmod a+r)."
        )
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise RasterError(f"'{name}' is empty (0 bytes). Fetch it again.")


def require_bands(dataset: Any, name: str) -> None:
    """Raise unless an open data set has pixels of its own."""
    if dataset.count and dataset.height and dataset.width:
        return
    inside = dataset.subdatasets
    hint = 'Give a raster.'
    if inside:
        hint = f'It holds {len(inside)} data sets: give one of them, {some(inside)}.'
    raise RasterError(f"'{name}' has no band of its own. {hint}")


def require_data(dataset: Any, name: str) -> None:
    """Raise if a TIFF cannot hold what it declares; a few of its blocks are looked at.

    Blocks that were never written are fine: GDAL reads them as nodata or 0.
    """
    rows, cols = dataset.block_shapes[0]
    down, across = -(-dataset.height // rows), -(-dataset.width // cols)
    size = os.path.getsize(name)
    says = f"'{name}' declares {dataset.width} x {dataset.height} pixels and {dataset.count} bands"
    bits = int(dataset.tags(1, ns='IMAGE_STRUCTURE').get('NBITS', 0))
    kind = dataset.dtypes[0]
    bits = bits or (32 if kind == 'complex_int16' else 8 * numpy_type(kind).itemsize)
    together = dataset.interleaving is not None and dataset.interleaving.name == 'pixel'
    block_bytes = rows * cols * bits * (dataset.count if together else 1) // 8
    # Where each block lies takes a few bytes itself.
    if down * across > max(size // 4, 1024):
        raise RasterError(
            f'{says}, and has {size} bytes, too few for them: it is cut off, or its header is damaged. '
            'Fetch it again.'
        )
    for y, x in sorted({(0, 0), (0, across - 1), (down - 1, 0), (down - 1, across - 1)}):
        offset, length = (
            int(dataset.get_tag_item(f'BLOCK_{what}_{x}_{y}', 'TIFF', bidx=1) or 0)
            for what in ('OFFSET', 'SIZE')
        )
        short = offset and (x, y) == (0, 0) and dataset.compression is None and length < block_bytes
        if offset + length > size or (short and dataset.height >= rows):
            raise RasterError(
                f'{says}, and has {size} bytes, not all of them: it is truncated. Fetch it again.'
            )
    if block_bytes > MAX_BLOCK_BYTES:
        raise RasterError(
            f'{says} in pieces of {cols} x {rows}, each of which takes {block_bytes / 2**30:.0f} GiB '
            'of memory. Store it in tiles: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE.'
        )
