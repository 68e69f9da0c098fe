"""What a list of inputs stands for: images, folders, globs, lists, rasters and addresses."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from rs4d.datasets.raster_statistics import SUFFIXES
from rs4d.errors import UserError
from rs4d.geo.raster_file import is_local

IMAGE_SUFFIXES = (*SUFFIXES, '.bmp', '.webp')
LISTS = ('.txt', '.lst')


class InputError(UserError, ValueError):
    """An input names nothing that could be read."""


def find_inputs(words: Sequence[str]) -> list[str]:
    """Find the images that words of a command line stand for, each once.

    Args:
        words: Files; folders, which are searched with those in them; globs; lists (``.txt``) with a path
            or an address a line, from the list's folder; addresses (``https://``, ``/vsicurl/``).

    Returns:
        Paths and addresses. A file that is named is among them whether it is there or not.

    Raises:
        InputError: A folder, a glob or a list has no image.
    """
    found: dict[str, str] = {}
    for word in words:
        for path in _expand(word):
            # One file may be named in two ways, and its objects would be there twice.
            found.setdefault(os.path.realpath(path) if is_local(path) else path, path)
    return list(found.values())


def _expand(word: str) -> list[str]:
    path = Path(word)
    if not is_local(word):
        return [word]
    if os.path.isdir(word):
        files = _images(word)
        if not files:
            raise InputError(
                f"The folder '{word}' has no image: no file in it ends in "
                f'{", ".join(IMAGE_SUFFIXES)}. Name others themselves.'
            )
        return files
    if not os.path.lexists(word) and glob.has_magic(word):
        files = sorted(name for name in glob.glob(word, recursive=True) if os.path.isfile(name))
        if not files:
            raise InputError(f"Nothing fits '{word}' (working directory '{Path.cwd()}').")
        return files
    if path.suffix.lower() in LISTS and os.path.isfile(word):
        return _listed(path)
    return [word]


def _images(folder: str) -> list[str]:
    """The images of a folder and of those in it; folders that may not be read are named as well."""
    closed: list[str] = []
    found = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder, onerror=lambda error: closed.append(error.filename))
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES
    ]
    return sorted(found + closed)


def _listed(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list '{path}' cannot be read ({error}).") from error
    names = [line for line in lines if line and not line.startswith('#')]
    if not names:
        raise InputError(f"The list '{path}' names no image. Write a path or an address a line.")
    return [str(path.parent / name) if is_local(name) else name for name in names]
