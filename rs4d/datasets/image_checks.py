"""What can be wrong with the image files of data sets, and between them."""

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from rs4d.geo.raster import Raster
from rs4d.geo.raster_file import RasterError
from rs4d.geo.window import grid

from .errors import ImageDecodeError
from .image_reading import ImageHeader, decode, read_file, read_header
from .report import ERROR, WARNING, Finding, Findings

# A header is within the first bytes of nearly every image.
_HEADER_BYTES = 1 << 16

_KINDS = {
    'missing files': (
        ERROR,
        'The run stops there. Put the files there, correct data_prefix, or remove their entries.',
    ),
    'broken images': (
        ERROR,
        'The file is cut off, damaged or no image. The run stops there, one without labels if it is '
        'more than 1 % of the set. Get it again.',
    ),
    'sizes that differ': (
        ERROR,
        'Boxes and masks do not lie where the objects are. Use the images that were annotated, or '
        'correct width and height if only they are wrong.',
    ),
    'unreadable kinds': (
        ERROR,
        'LoadImage does not read such files: floating-point or signed numbers, five bands and more, and '
        'others. Load them by LoadRaster: docs/rasters.md.',
    ),
    '16 bits': (
        WARNING,
        'LoadImage gives 8 of the bits that an image uses; LoadImageFromFile would give a nearly '
        'black one. Where brightness has to compare between images, tell LoadImage their bits=12, or '
        'load all of it by LoadRaster: docs/rasters.md.',
    ),
    'four bands': (
        WARNING,
        'LoadImage gives the first three bands as they are; LoadImageFromFile would darken those of a '
        'TIFF by its fourth. If others are meant, or all, load them by LoadRaster: docs/rasters.md.',
    ),
    'turned by EXIF': (
        WARNING,
        'The file asks to be turned, and the size in the annotations fits both ways. It is loaded '
        'upright, as viewers show it. See that boxes lie on their objects.',
    ),
    'same image twice': (
        WARNING,
        'Files of one data set are byte for byte the same: they weigh double. Remove one of them.',
    ),
    'same image in both': (
        WARNING,
        'Files are byte for byte the same, so that the score is partly on images that were trained '
        'on. Remove them from one of the sets, or say so beside the score.',
    ),
}


@dataclass(frozen=True)
class ImageFile:
    """An image, in a file of its own or in a tar.

    Attributes:
        path: Its file; of one in a tar, its name behind the tar's.
        shard: See :func:`rs4d.datasets.image_reading.read_file`.
        noted: Width and height from the annotations, None if there are none.
    """

    path: str
    shard: Mapping[str, Any] | None = None
    noted: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """Where its bytes lie, the same for all names of a file."""
        if self.shard is None:
            return os.path.realpath(self.path)
        return f'{os.path.realpath(self.shard["path"])}:{self.shard["offset"]}'

    def length(self) -> int:
        """How many bytes it has."""
        return os.path.getsize(self.path) if self.shard is None else self.shard['size']


def file_findings(
    images: Iterable[ImageFile], subset: str, decode_all: bool = False, rasters: bool = False
) -> tuple[list[Finding], list[ImageFile]]:
    """Check that the images of a data set exist, open, and have the sizes noted.

    Args:
        images: Files and members of tars.
        subset: The data set's name in the report.
        decode_all: Whether every image is decoded to the end, instead of its header alone.
        rasters: Whether they are loaded by `LoadRaster`, which takes more kinds of files.

    Returns:
        The findings, and the images that exist and open.
    """
    found = Findings(subset, _KINDS)
    present = []
    for image in images:
        try:
            header = None if rasters else _header(image)
            if header is not None and header.fault:
                found.add('unreadable kinds', f'{image.path}: {header.fault}')
                continue
            if rasters:
                size = _raster_size(image.path, decode_all)
            elif decode_all or header is None:
                data = read_file(image.path, image.shard)
                size = decode(data, image.path, noted=image.noted).shape[1::-1]
            else:
                size = header.size(image.noted)
        except (FileNotFoundError, ImageDecodeError, RasterError) as error:
            gone = isinstance(error, RasterError) and not os.path.exists(image.path)
            missing = gone or isinstance(error, FileNotFoundError)
            found.add('missing files' if missing else 'broken images', image.path)
            continue
        present.append(image)
        if image.noted and image.noted != size:
            sizes = '{}x{}, noted {}x{}'.format(*size, *image.noted)
            found.add('sizes that differ', f'{image.path}: {sizes}')
        if header is None:
            continue
        if header.bits > 8:
            found.add('16 bits', image.path)
        if header.bands > 3:
            found.add('four bands', image.path)
        if header.orientation != 1 and image.noted == header.upright == header.stored:
            found.add('turned by EXIF', f'{image.path}: orientation {header.orientation}')
    return found.all(), present


def _raster_size(path: str, whole: bool) -> tuple[int, int]:
    """Width and height of a raster, which is read to the end if ``whole``."""
    with Raster.open(path) as raster:
        for window in grid(raster.height, raster.width, 1024) if whole else ():
            raster.read(window)
        return raster.width, raster.height


def _header(image: ImageFile) -> ImageHeader | None:
    if image.shard is None:
        return read_header(image.path)
    start = dict(image.shard, size=min(_HEADER_BYTES, image.shard['size']))
    header = read_header(io.BytesIO(read_file(image.path, start)))
    # That of a TIFF is often at its end.
    return header or read_header(io.BytesIO(read_file(image.path, image.shard)))


def duplicate_findings(subsets: Mapping[str, Sequence[ImageFile]]) -> list[Finding]:
    """Find images that are byte for byte the same, within data sets and between them.

    Args:
        subsets: From the data sets' names in the report to their images.
    """
    folders = {os.path.dirname(image.path) for images in subsets.values() for image in images}
    common = os.path.commonpath(folders) if folders else ''
    found: dict[str, Findings] = {}
    # The first path of each content in each data set.
    known: dict[str, dict[str, str]] = defaultdict(dict)
    for content, name, path in _contents(subsets):
        short = os.path.relpath(path, common)
        # Every file that is in another set counts, however often it is there.
        for other, first in known[content].items():
            subset = name if other == name else f'{other} / {name}'
            check = 'same image twice' if other == name else 'same image in both'
            found.setdefault(subset, Findings(subset, _KINDS)).add(check, f'{first} = {short}')
        known[content].setdefault(name, short)
    return [finding for part in found.values() for finding in part.all()]


def _contents(subsets: Mapping[str, Sequence[ImageFile]]) -> Iterator[tuple[str, str, str]]:
    """Yield a key for each file's content, its data set and its path."""
    alike: dict[int, set[str]] = defaultdict(set)
    for image in chain(*subsets.values()):
        alike[image.length()].add(image.place)
    contents: dict[str, str] = {}
    for name, images in subsets.items():
        files = {(image.path, image.place): image for image in images}
        for (path, place), image in sorted(files.items()):
            # Only images of equal length are read; others may still be listed in two data sets.
            if place not in contents and len(alike[image.length()]) > 1:
                data = read_file(image.path, image.shard)
                contents[place] = hashlib.blake2b(data, digest_size=16).hexdigest()
            yield contents.get(place, place), name, path
