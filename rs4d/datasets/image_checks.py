"""What can be wrong with the image files of data sets, and between them."""

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from .errors import ImageDecodeError
from .image_reading import ImageHeader, decode, read_file, read_header
from .report import ERROR, WARNING, Finding, Findings

# A header is within the first bytes of nearly every image.
_HEADER_BYTES = 1 << 16

_KINDS = {
    'missing files': (
        ERROR,
        'The run stops at the first of them. Put the files there, correct data_prefix, or remove '
        'their entries.',
    ),
    'broken images': (
        ERROR,
        'The file is cut off, damaged or no image. The run stops there, one without labels if it is '
        'more than 1 % of the set. Get it again.',
    ),
    'sizes that differ': (
        ERROR,
        'Boxes and masks do not lie where the objects are. Use the images that the annotations '
        'were made on, or correct width and height if only they are wrong.',
    ),
    'unreadable kinds': (
        ERROR,
        'Such files are not read: floating-point or signed numbers, five bands and more, and others. '
        'Make 8-bit images of three bands, such as by gdal_translate with -ot Byte, -scale and -b.',
    ),
    '16 bits': (
        WARNING,
        'LoadImage gives 8 of the bits that an image uses; LoadImageFromFile would give a nearly '
        'black one. Where brightness has to compare between images, tell LoadImage how many bits all '
        'of them use, such as bits=12, or make 8-bit images.',
    ),
    'four bands': (
        WARNING,
        'LoadImage gives the first three bands as they are; LoadImageFromFile would darken those of a '
        'TIFF by its fourth. If others are meant, make images of three bands.',
    ),
    'turned by EXIF': (
        WARNING,
        'The file asks to be turned, and the size in the annotations fits both ways. It is loaded '
        'upright, as viewers show it. See that boxes lie on their objects, or take the orientation '
        'out of the file.',
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
        shard: Of one in a tar the archive's ``path``, and the image's ``offset`` and ``size``.
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
    images: Iterable[ImageFile], subset: str, decode_all: bool = False
) -> tuple[list[Finding], list[ImageFile]]:
    """Check that the images of a data set exist, open, and have the sizes noted.

    Args:
        images: Files and members of tars.
        subset: The data set's name in the report.
        decode_all: Whether every image is decoded to the end, instead of its header alone.

    Returns:
        The findings, and the images that exist and open.
    """
    found = Findings(subset, _KINDS)
    present = []
    for image in images:
        header = None
        try:
            header = _header(image)
            if decode_all or header is None or header.fault:
                height, width = decode(
                    read_file(image.path, image.shard), image.path, noted=image.noted
                ).shape[:2]
            else:
                width, height = header.size(image.noted)
        except FileNotFoundError:
            found.add('missing files', image.path)
            continue
        except ImageDecodeError:
            if header is not None and header.fault:
                found.add('unreadable kinds', f'{image.path}: {header.fault}')
            else:
                found.add('broken images', image.path)
            continue
        present.append(image)
        if image.noted not in (None, (width, height)):
            noted = '{}x{}'.format(*image.noted or ())
            found.add('sizes that differ', f'{image.path}: {width}x{height}, noted {noted}')
        if header is not None:
            _add_kind(found, image, header)
    return found.all(), present


def _header(image: ImageFile) -> ImageHeader | None:
    if image.shard is None:
        return read_header(image.path)
    size = image.shard['size']
    for most in (min(size, _HEADER_BYTES), size):  # that of a TIFF is often at its end
        data = read_file(image.path, dict(image.shard, size=most))
        header = read_header(io.BytesIO(data))
        if header is not None:
            return header
    return None


def _add_kind(found: Findings, image: ImageFile, header: ImageHeader) -> None:
    """Say what is unusual about an image that can be loaded."""
    if header.bits > 8:
        found.add('16 bits', image.path)
    if header.bands > 3:
        found.add('four bands', image.path)
    if header.orientation != 1 and image.noted == header.upright == header.stored:
        found.add('turned by EXIF', f'{image.path}: orientation {header.orientation}')


def duplicate_findings(subsets: Mapping[str, Sequence[ImageFile]]) -> list[Finding]:
    """Find images that are byte for byte the same, within data sets and between them.

    Only images of equal length are read.

    Args:
        subsets: From the data sets' names in the report to their images.

    Returns:
        The findings.
    """
    contents = _equal_contents(image for images in subsets.values() for image in images)
    groups = {name: _grouped(images, contents) for name, images in subsets.items()}
    folders = {os.path.dirname(image.path) for images in subsets.values() for image in images}
    common = os.path.commonpath(folders) if folders else ''

    def short(path: str) -> str:
        return os.path.relpath(path, common)

    findings = []
    for name, found_here in groups.items():
        twice = Findings(name, _KINDS)
        for paths in found_here.values():
            for path in paths[1:]:
                twice.add('same image twice', f'{short(paths[0])} = {short(path)}')
        findings += twice.all()
    for (one, first), (other, second) in combinations(groups.items(), 2):
        both = Findings(f'{one} / {other}', _KINDS)
        # Every file of the second that is in the first counts, however often it is there.
        for content, paths in second.items():
            for path in paths if content in first else ():
                both.add('same image in both', f'{short(first[content][0])} = {short(path)}')
        findings += both.all()
    return findings


def _equal_contents(images: Iterable[ImageFile]) -> dict[str, str]:
    """Give each image that may equal another one a key for its content."""
    by_length: dict[int, dict[str, ImageFile]] = defaultdict(dict)
    for image in images:
        by_length[image.length()][image.place] = image
    hashes = {}
    for alike in by_length.values():
        if len(alike) > 1:
            for place, image in alike.items():
                hashes[place] = hashlib.blake2b(
                    read_file(image.path, image.shard), digest_size=16
                ).hexdigest()
    return hashes


def _grouped(images: Iterable[ImageFile], contents: Mapping[str, str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for path, place in sorted({(image.path, image.place) for image in images}):
        # An image whose length is its own may still be listed in two data sets.
        groups[contents.get(place, place)].append(path)
    return groups
