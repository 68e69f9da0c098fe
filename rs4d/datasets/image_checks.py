"""What can be wrong with the image files of data sets, and between them."""

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .checks import read_image_size, size_from_header
from .errors import DatasetNotFoundError, ImageDecodeError
from .report import ERROR, WARNING, Finding, Findings
from .tar_shards import ShardReader
from .transforms.loading import decode

# A header is within the first bytes of nearly every image.
_HEADER_BYTES = 1 << 16
# What may follow 0xFF within the entropy-coded data of a JPEG: a stuffed zero, restarts, the end, and
# what stands between the scans of a progressive one.
_MARKERS = np.zeros(256, bool)
_MARKERS[[0x00, *range(0xD0, 0xD8), 0xD9, 0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, 0xFF]] = True
_ZEROS = bytes(512)

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
    'zeros inside': (
        WARNING,
        'A JPEG has a long run of zeros: a large blank area, or a part of the file that was never '
        'written. Look at it.',
    ),
    'sizes that differ': (
        ERROR,
        'Boxes and masks do not lie where the objects are. Use the images that the annotations '
        'were made on, or correct width and height if only they are wrong.',
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
        archive: The tar, None for a file of its own.
        offset: Where it begins in the tar.
        size: How many bytes it has in the tar.
        noted: Width and height from the annotations, None if there are none.
    """

    path: str
    archive: str | None = None
    offset: int = 0
    size: int = 0
    noted: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """Where its bytes lie, the same for all names of a file."""
        if self.archive is None:
            return os.path.realpath(self.path)
        return f'{os.path.realpath(self.archive)}:{self.offset}'

    def length(self) -> int:
        """How many bytes it has."""
        return os.path.getsize(self.path) if self.archive is None else self.size

    def read(self, reader: ShardReader, most: int | None = None) -> bytes:
        """Read its bytes.

        Args:
            reader: Reads members of tars.
            most: How many bytes from its beginning at most; None reads all.
        """
        if self.archive is None:
            with open(self.path, 'rb') as file:
                return file.read(-1 if most is None else most)
        size = self.size if most is None else min(self.size, most)
        return reader.read(self.archive, self.offset, size)


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
    reader = ShardReader()
    present = []
    for image in images:
        try:
            size = _image_size(image, reader)
            if decode_all:
                data = image.read(reader)
                decode(data, image.path)
                if has_foreign_bytes(data):
                    raise ImageDecodeError(f"The image '{image.path}' is damaged inside.")
                if has_zeros(data):
                    found.add('zeros inside', image.path)
        except DatasetNotFoundError:
            found.add('missing files', image.path)
            continue
        except ImageDecodeError:
            found.add('broken images', image.path)
            continue
        present.append(image)
        if image.noted not in (None, size):
            width, height = image.noted or (0, 0)
            text = f'{image.path}: {size[0]}x{size[1]}, noted {width}x{height}'
            found.add('sizes that differ', text)
    return found.all(), present


def has_foreign_bytes(data: bytes) -> bool:
    """Whether a JPEG has bytes inside that no encoder writes, which decoders pass over in silence.

    Of random bytes written into real JPEGs it misses 16 in 100 where they are 512, 1 in 200 where
    they are 4 KiB; zeros it does not see.

    Args:
        data: The file's bytes; other formats have none.
    """
    start = _scan_start(data)
    scan = np.frombuffer(data, np.uint8)[start:]
    if not start:
        return False
    followers = scan[np.flatnonzero(scan[:-1] == 0xFF) + 1]
    ends = np.flatnonzero(followers == 0xD9)  # anything may stand behind an image's end
    return not _MARKERS[followers[: ends[0]] if len(ends) else followers].all()


def has_zeros(data: bytes) -> bool:
    """Whether a JPEG has a run of zeros as of a page that was never written.

    Args:
        data: The file's bytes; other formats have none.
    """
    start = _scan_start(data)
    return bool(start) and data.find(_ZEROS, start) >= 0


def _scan_start(data: bytes) -> int:
    """Where a JPEG's first scan begins; 0 of other formats."""
    return max(data.find(b'\xff\xda'), 0) if data[:2] == b'\xff\xd8' else 0


def _image_size(image: ImageFile, reader: ShardReader) -> tuple[int, int]:
    if image.archive is None:
        return read_image_size(image.path)
    size = size_from_header(io.BytesIO(image.read(reader, _HEADER_BYTES)))
    if size is not None:
        return size
    height, width = decode(image.read(reader), image.path).shape[:2]
    return width, height


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
    reader = ShardReader()
    hashes = {}
    for alike in by_length.values():
        if len(alike) > 1:
            for place, image in alike.items():
                hashes[place] = hashlib.blake2b(image.read(reader), digest_size=16).hexdigest()
    return hashes


def _grouped(images: Iterable[ImageFile], contents: Mapping[str, str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for path, place in sorted({(image.path, image.place) for image in images}):
        # An image whose length is its own may still be listed in two data sets.
        groups[contents.get(place, place)].append(path)
    return groups
