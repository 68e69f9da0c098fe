"""What can be wrong with the image files of data sets, and between them."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from .checks import decode_image, read_image_size
from .errors import DatasetNotFoundError, ImageDecodeError
from .report import ERROR, WARNING, Finding, Findings

_KINDS = {
    'missing files': (
        ERROR,
        'The run stops at the first of them. Put the files there, correct data_prefix, or remove '
        'their entries.',
    ),
    'broken images': (
        ERROR,
        'The file is cut off, damaged or no image; the run stops there. Get it again.',
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


def file_findings(
    images: Sequence[Mapping[str, Any]], subset: str, decode: bool = False
) -> tuple[list[Finding], list[str]]:
    """Check that the images of a data set exist, open, and have the sizes noted.

    Args:
        images: Each with its ``path``, and its ``width`` and ``height`` where they are known.
        subset: The data set's name in the report.
        decode: Whether every image is decoded to the end, instead of its header alone.

    Returns:
        The findings, and the paths of the files that exist.
    """
    found = Findings(subset, _KINDS)
    present = []
    for image in images:
        path = image['path']
        try:
            size = read_image_size(path)
            if decode:
                decode_image(path)
        except DatasetNotFoundError:
            found.add('missing files', path)
            continue
        except ImageDecodeError:
            found.add('broken images', path)
            continue
        present.append(path)
        noted = (image.get('width'), image.get('height'))
        if None not in noted and size != noted:
            text = f'{path}: {size[0]}x{size[1]}, noted {noted[0]}x{noted[1]}'
            found.add('sizes that differ', text)
    return found.all(), present


def duplicate_findings(subsets: Mapping[str, Iterable[str]]) -> list[Finding]:
    """Find images that are byte for byte the same, within data sets and between them.

    Only files of equal length are read.

    Args:
        subsets: From the data sets' names in the report to their files.

    Returns:
        The findings.
    """
    members: dict[str, list[str]] = {name: list(paths) for name, paths in subsets.items()}
    contents = _equal_contents(path for paths in members.values() for path in paths)
    groups = {name: _grouped(paths, contents) for name, paths in members.items()}
    folders = {os.path.dirname(path) for paths in members.values() for path in paths}
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


def _equal_contents(paths: Iterable[str]) -> dict[str, str]:
    """Give each file that may equal another one a key for its content."""
    by_length = defaultdict(set)
    for path in set(paths):
        by_length[os.path.getsize(path)].add(os.path.realpath(path))
    hashes = {}
    for files in by_length.values():
        if len(files) > 1:
            for file in files:
                hashes[file] = hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    return hashes


def _grouped(paths: Iterable[str], contents: Mapping[str, str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for path in sorted(set(paths)):
        # A file whose length is its own may still be listed in two data sets.
        real = os.path.realpath(path)
        groups[contents.get(real, real)].append(path)
    return groups
