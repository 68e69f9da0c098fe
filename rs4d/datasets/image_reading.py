"""Reading images, one way for training, test and checks: as they were when they were annotated."""

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from rs4d.geo.extra import MissingExtraError
from rs4d.geo.raster import Raster
from rs4d.geo.raster_file import RasterError

from .errors import DatasetNotFoundError, ImageDecodeError
from .tar_shards import read_range

_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_ORIENTATION = 0x0112
# Quarter turns to the left that make an image upright, by EXIF's orientation, and which of these
# are mirrored then.
_QUARTERS = {1: 0, 2: 0, 3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}
_MIRRORED = (2, 4, 5, 7)
# The share of values that fit into the bits in use; a few bright pixels darken no image.
_IN_RANGE = 99.9


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about its image.

    Attributes:
        stored: Width and height as the pixels lie in the file.
        orientation: EXIF's or a TIFF's, 1 for upright.
        bands: How many values a pixel has.
        bits: How many bits a value has.
        straight_alpha: Whether it is a TIFF that calls its fourth band a transparency.
        fault: Why it cannot be read as an image of three bands, in words; empty if it can.
    """

    stored: tuple[int, int]
    orientation: int = 1
    bands: int = 3
    bits: int = 8
    straight_alpha: bool = False
    fault: str = ''

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as viewers show the image."""
        width, height = self.stored
        return (height, width) if self.orientation >= 5 else (width, height)

    def turn(self, noted: tuple[int, int] | None) -> int:
        """Which of EXIF's orientations is undone; 1 where annotations are of the pixels as stored.

        Some tools for annotation show images upright and some as they are stored; the size that they
        noted tells which. Where it fits both, or there is none, it is upright, as viewers show it.
        """
        return 1 if noted == self.stored != self.upright else self.orientation

    def size(self, noted: tuple[int, int] | None = None) -> tuple[int, int]:
        """Width and height as the image is loaded; see `turn`."""
        return self.stored if self.turn(noted) == 1 else self.upright


def read_header(source: str | os.PathLike[str] | BinaryIO) -> ImageHeader | None:
    """Read what a file, or the beginning of an open one, says about its image.

    Returns:
        The header; None if it cannot be read, or Pillow does not know the format.
    """
    try:
        if isinstance(source, str | os.PathLike):
            with open(source, 'rb') as file:
                return read_header(file)
        start = source.read(26)
        source.seek(0)
        if start[:4] in _TIFF:
            return _tiff_header(source)
        with Image.open(source) as image:
            # Palettes and inks become colours.
            bands = 3 if image.mode in ('P', 'CMYK') else len(image.getbands())
            deep = image.mode.startswith('I') or (image.format == 'PNG' and start[24] == 16)
            tags = Image.Exif()
            tags.load(image.info.get('exif', b''))
            turn = tags.get(_ORIENTATION, 1)
            turn = turn if turn in _QUARTERS else 1
            return ImageHeader(image.size, turn, bands, 16 if deep else 8)
    except (OSError, SyntaxError, ValueError, KeyError, struct.error, Image.DecompressionBombError):
        return None


def _tiff_header(file: BinaryIO) -> ImageHeader:
    """Read the tags themselves: Pillow opens only some of the kinds of TIFF."""
    start = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(
        start + (file.read(8) if 43 in start[2:4] else b'')
    )
    file.seek(tags.next)
    tags.load(file)
    bands, photometric = tags.get(277, 1), tags.get(262, 1)
    depths, kinds = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    bits = max(depths)
    whole = kinds <= {1, 4} or (kinds == {2} and bits == 16)
    fault = ''
    if not whole or depths - {1, 2, 4, 8, 16} or len(depths) > 1:
        kind = 'whole' if whole else 'floating-point' if 3 in kinds else 'signed or complex'
        fault = f'its values are {kind} numbers of {bits} bits'
    elif bands > 4:
        fault = f'it has {bands} bands'
    elif photometric < 2 and (bands == 2 or (bands > 1 and bits < 16)):
        fault = f'it has {bands} bands and calls them shades of grey'
    elif bits == 16 and (photometric == 0 or (bands > 1 and tags.get(284, 1) == 2)):
        fault = 'its 16-bit values are inverted, or lie band by band'
    turn = tags.get(_ORIENTATION, 1)
    return ImageHeader(
        (tags[256], tags[257]),
        turn if turn in _QUARTERS else 1,
        bands=3 if photometric in (3, 5) else bands,
        bits=bits,
        straight_alpha=bits == 8 and bands == 4 and photometric == 2 and 2 in tags.get(338, ()),
        fault=fault,
    )


def _unturned(data: bytes) -> bytes:
    """A TIFF that says of itself that it is upright: decoders would turn what is not."""
    order, big = '<' if data[:2] == b'II' else '>', 43 in data[2:4]
    (first,) = struct.unpack_from(f'{order}Q' if big else f'{order}I', data, 8 if big else 4)
    (count,) = struct.unpack_from(f'{order}Q' if big else f'{order}H', data, first)
    begin, size, ahead = (first + 8, 20, 12) if big else (first + 2, 12, 8)
    for entry in range(begin, begin + count * size, size):
        if struct.unpack_from(f'{order}H', data, entry) == (_ORIENTATION,):
            value = entry + ahead
            return data[:value] + struct.pack(f'{order}H', 1) + data[value + 2 :]
    return data


def image_size(
    path: str | os.PathLike[str], noted: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Read width and height as an image is loaded, from its header alone where the format allows.

    What the annotations have noted tells how it is turned. Errors are those of `read_image`.
    """
    header = read_header(path)
    if header is not None:
        return header.size(noted)
    try:
        return read_image(path).shape[1::-1]
    except ImageDecodeError as error:
        try:
            with Raster.open(path) as raster:
                return raster.width, raster.height
        except (RasterError, MissingExtraError):
            raise error from None


def read_file(path: str | os.PathLike[str], shard: Mapping[str, Any] | None = None) -> bytes:
    """Read the bytes of an image's file, fewer where a tar ends before.

    Args:
        path: The file.
        shard: Of an image in a tar the archive's ``path``, and the image's ``offset`` and ``size``.

    Raises:
        DatasetNotFoundError: It is absent.
        ImageDecodeError: It cannot be read.
    """
    try:
        if shard is not None:
            return read_range(shard['path'], shard['offset'], shard['size'])
        with open(path, 'rb') as file:
            return file.read()
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"The image '{path}' does not exist. Put it there, or correct the folder."
        ) from error
    except OSError as error:
        raise ImageDecodeError(f"The image '{path}' cannot be read ({error}).") from error


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image's file and decode it; see `decode`."""
    return decode(read_file(path), str(path))


def decode(
    data: bytes,
    path: str,
    scale: tuple[int, int] | None = None,
    noted: tuple[int, int] | None = None,
    bits: int | None = None,
) -> np.ndarray:
    """Decode an image, a JPEG at a fraction of its size where ``scale`` allows.

    Args:
        data: The file's bytes.
        path: The file's name for messages.
        scale: Width and height of the rectangle into which it will be fitted; None decodes in full.
        noted: Width and height from the annotations, which tell if they are of the image as it is
            stored or as its EXIF orientation turns it.
        bits: How many bits 16-bit values have in use; None takes those that 99.9 % of the image's own
            need.

    Returns:
        (H, W, 3) uint8 in BGR. Of four bands it has the first three as they are stored, whatever the
        fourth is. Of 16-bit values it has the 8 highest of the bits in use; what is above is white.

    Raises:
        ImageDecodeError: The bytes are no whole image, or one of another kind.
    """
    header = read_header(io.BytesIO(data))
    fault = header.fault if header else ''
    # OpenCV fills what is missing of a JPEG with grey; a whole one has its end mark.
    cut_off = data[:2] == b'\xff\xd8' and b'\xff\xd9' not in data[-4096:]
    if header and header.orientation != 1 and data[:4] in _TIFF:
        data = _unturned(data)
    image = None if fault or cut_off or not data else _pixels(data, header, scale)
    if image is not None and image.dtype not in (np.uint8, np.uint16, np.int16):
        fault = f'its values are {image.dtype}'
    if fault:
        raise ImageDecodeError(
            f"The image '{path}' cannot be loaded as it is: {fault}. Load it by LoadRaster "
            '(docs/rasters.md), or make 8-bit images of three bands, such as by gdal_translate with '
            '-ot Byte, -scale and -b.'
        )
    if image is None:
        state = 'is cut off' if cut_off else 'cannot be decoded as an image'
        raise ImageDecodeError(
            f"The image '{path}' ({len(data)} bytes) {state}: get it again, or remove it."
        )
    if image.dtype != np.uint8:
        image = _to_8_bits(image, bits)
    return turned(image, header.turn(noted) if header else 1)


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels (H, W, C) as they are stored to what EXIF's orientation means."""
    image = np.rot90(image, _QUARTERS[orientation])
    return np.ascontiguousarray(image[:, ::-1] if orientation in _MIRRORED else image)


def stored_points(points: np.ndarray, orientation: int, height: int, width: int) -> np.ndarray:
    """Where points of an image that `turned` returned lie in the pixels as they are stored.

    Args:
        points: (N, 2), x and y, (0, 0) at the upper left corner of the first pixel.
        orientation: EXIF's, 1 to 8.
        height: Rows of the turned image.
        width: Its columns.

    Returns:
        (N, 2), x and y.
    """
    x, y = np.asarray(points).T
    right, below = width - x, height - y
    pairs = [(x, y), (right, y), (right, below), (x, below)]
    pairs += [(y, x), (y, right), (below, right), (below, x)]
    return np.stack(pairs[orientation - 1], axis=1)


def _pixels(
    data: bytes, header: ImageHeader | None, scale: tuple[int, int] | None
) -> np.ndarray | None:
    """The pixels as they are stored, (H, W, 3) in BGR; None if they are no image."""
    try:
        if header and header.straight_alpha:
            # OpenCV would multiply the colours by it.
            with Image.open(io.BytesIO(data)) as image:
                return np.ascontiguousarray(np.asarray(image)[..., 2::-1])
        flag = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        # JPEG's blocks of 8x8 decode to 4x4, 2x2 or 1x1 pixels for a fraction of the time.
        if scale and header and data[:2] == b'\xff\xd8' and reduction(header.stored, scale) > 1:
            flag = getattr(cv2, f'IMREAD_REDUCED_COLOR_{reduction(header.stored, scale)}')
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except (cv2.error, OSError, SyntaxError, ValueError):  # a header with impossible sizes
        return None


def _to_8_bits(image: np.ndarray, bits: int | None) -> np.ndarray:
    image = image.clip(0).astype(np.uint16)  # below zero there is only what stands for no data
    if bits is None:
        values = image[image > 0]
        top = int(np.percentile(values, _IN_RANGE, method='lower')) if values.size else 0
        bits = top.bit_length()
    return (image >> max(bits - 8, 0)).clip(max=255).astype(np.uint8)


def reduction(size: tuple[int, int], scale: tuple[int, int]) -> int:
    """By how much a JPEG may be reduced in decoding: 1, 2, 4 or 8; see `decode`."""
    # The factor by which Resize will shrink it, whose longer side is for the image's longer one.
    ratio = max(max(size) / max(scale), min(size) / min(scale))
    return next((factor for factor in (8, 4, 2) if factor <= ratio), 1)
