"""What an image is called in a cache, the same on every machine, and sets of millions of names."""

import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .header import TeacherCacheError


def image_key(info: dict[str, Any], roots: Sequence[str]) -> str:
    """Name an image by a data set's entry.

    It is ``img_key`` if the data set names its images itself, otherwise ``img_path`` below the first
    of the roots that contains it, with forward slashes.

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


def hash_keys(keys: Iterable[str], count: int = -1) -> NDArray[np.uint64]:
    """Hash many keys, (N,) in their order; to know their count saves memory."""
    return np.fromiter(map(key_hash, keys), np.uint64, count)


def rank_of(hashes: NDArray[np.uint64], world_size: int) -> NDArray[np.uint64]:
    """The ranks that encode images, which depend on their hashes (N,) and nothing else; (N,)."""
    return hashes % np.uint64(world_size)


class KeySet:
    """A set of images' keys as their sorted ``hashes`` (N,): 8 bytes an image."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self.hashes = np.sort(hashes)

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, key: str) -> bool:
        return self.find(key) is not None

    def find(self, key: str) -> int | None:
        """Where in ``hashes`` a key is; None if it is not in the set."""
        wanted = np.uint64(key_hash(key))
        place = int(np.searchsorted(self.hashes, wanted))
        found = place < len(self) and self.hashes[place] == wanted
        return place if found else None

    def doubled(self) -> NDArray[np.uint64]:
        """Those of ``hashes`` that were given more than once."""
        return np.unique(self.hashes[1:][self.hashes[1:] == self.hashes[:-1]])

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Of hashes (N,), whether they are in the set; (N,)."""
        if not len(self):
            return np.zeros(len(hashes), bool)
        places = np.searchsorted(self.hashes, hashes)
        np.minimum(places, len(self) - 1, out=places)
        return self.hashes[places] == hashes
