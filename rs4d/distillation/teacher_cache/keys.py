"""What an image is called in a cache: the same on every machine, wherever its data root lies."""

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .errors import TeacherCacheError


def image_key(info: dict[str, Any], roots: Sequence[str]) -> str:
    """Name an image.

    Args:
        info: A data set's entry: ``img_key`` if it names its images itself, otherwise ``img_path``.
        roots: The data set's roots; the path is taken below the first that contains it.

    Returns:
        ``img_key``, or the path below its root with forward slashes.

    Raises:
        TeacherCacheError: The path lies below none of the roots.
    """
    if info.get('img_key') is not None:
        return str(info['img_key'])
    path = os.path.abspath(info['img_path'])
    for root in roots:
        top = os.path.abspath(root)
        if path.startswith(top.rstrip(os.sep) + os.sep):
            return Path(os.path.relpath(path, top)).as_posix()
    raise TeacherCacheError(
        f"The image '{info['img_path']}' lies below none of the data roots {list(roots)}, so it has "
        'no name in a cache of embeddings. Set data_root of LoadTeacherEmbedding (and of the data '
        'set) to the folder that contains it.'
    )


def key_hash(key: str) -> int:
    """A number of 64 bits for a key, the same in every process and on every machine."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), 'little')


def rank_of(key: str, world_size: int) -> int:
    """The rank that encodes an image, which depends on nothing but its key and the number of ranks."""
    return key_hash(key) % world_size
