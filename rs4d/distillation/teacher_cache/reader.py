"""Reading a cache, from any number of processes."""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import SkippedImageError, TeacherCacheError
from .header import CacheHeader, read_cache_header
from .index import read_index, shard_shapes, tensor_name
from .keys import KeySet, hash_keys
from .skipped import RETRY, read_skipped

_VERIFY = 'rs4d cache-teacher --verify checks all of it'


class TeacherCacheReader:
    """Look up embeddings by the images' keys.

    The index is kept as two arrays, 12 bytes an image, that forked workers of a data loader share.

    Args:
        folder: The cache.
        max_open: How many shards are kept open; they are mapped into memory and not read whole.

    Attributes:
        header: What the cache is of.

    Raises:
        TeacherCacheError: There is no cache, it is empty, or its index is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], max_open: int = 32) -> None:
        self.folder = Path(folder)
        self.header: CacheHeader = read_cache_header(folder)
        self.max_open = max_open
        self._open: OrderedDict[int, tuple[Any, dict[str, list[int]]]] = OrderedDict()
        self._shards: list[tuple[str, int]] = []
        hashes, numbers = [], []
        for number, record in enumerate(read_index(self.folder)):
            self._shards.append((record.shard, record.size))
            hashes.append(hash_keys(record.keys, len(record.keys)))
            numbers.append(np.full(len(record.keys), number, np.int32))
        if not hashes:
            raise TeacherCacheError(
                f"The teacher cache '{folder}' has no image yet. Let rs4d cache-teacher finish."
            )
        joined = np.concatenate(hashes)
        self._keys = KeySet(joined)
        self._numbers = np.concatenate(numbers)[np.argsort(joined)]
        doubled = self._keys.doubled()
        if len(doubled):
            raise TeacherCacheError(
                f"The teacher cache '{folder}' has {len(doubled)} images twice. {_VERIFY} and names "
                'them.'
            )
        self._skipped = read_skipped(self.folder)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay with the process that opened them.
        return self.__dict__ | dict(_open=OrderedDict())

    def read(self, key: str, maps: tuple[str, ...]) -> dict[str, Tensor]:
        """Read maps of an image.

        Args:
            key: The image's name.
            maps: Names of maps of the header.

        Returns:
            Each map (C, H, W) in float16.

        Raises:
            SkippedImageError: The image could not be read when the cache was made.
            TeacherCacheError: The cache has no such image, or its shard is damaged.
        """
        file, _ = self._shard(key)
        try:
            return {name: file.get_tensor(tensor_name(name, key)) for name in maps}
        except SafetensorError as error:
            raise TeacherCacheError(
                f"The teacher cache '{self.folder}' says that it has the image '{key}', but its shard "
                f'does not give it: {error}. {_VERIFY}.'
            ) from error

    def img_shape(self, key: str) -> tuple[int, int]:
        """Height and width of the part of an image's input that was not padding; see :meth:`read`."""
        _, shapes = self._shard(key)
        if key not in shapes:
            raise self._unknown(key)
        height, width = shapes[key]
        return height, width

    def _shard(self, key: str) -> tuple[Any, dict[str, list[int]]]:
        place = self._keys.find(key)
        if place is None:
            raise self._unknown(key)
        number = int(self._numbers[place])
        if number not in self._open:
            self._open[number] = self._open_shard(*self._shards[number])
            if len(self._open) > self.max_open:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _open_shard(self, name: str, size: int) -> tuple[Any, dict[str, list[int]]]:
        path = self.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = 'is missing' if found is None else f'has {found} bytes instead of {size}'
            raise TeacherCacheError(
                f"The shard '{path}' of the teacher cache {state}. Copy it again, or delete it and "
                'start rs4d cache-teacher again, which encodes what is missing.'
            )
        shapes = shard_shapes(path)
        file = safe_open(path, 'pt')
        if (file.metadata() or {}).get('fingerprint') != self.header.fingerprint:
            raise TeacherCacheError(
                f"The shard '{path}' belongs to another teacher cache than the header beside it: it "
                'was made with another teacher, normalisation, pipeline or image size. Keep each '
                'cache in a folder of its own, and its header as it was written.'
            )
        return file, shapes

    def _unknown(self, key: str) -> TeacherCacheError:
        if key in self._skipped:
            return SkippedImageError(
                f"The teacher cache '{self.folder}' has no embedding of the image '{key}', which "
                f'could not be read when the cache was made ({self._skipped[key]}). To have it tried '
                f'again, {RETRY}.'
            )
        return TeacherCacheError(
            f"The teacher cache '{self.folder}' has {len(self)} images, but not '{key}'. Let "
            'rs4d cache-teacher finish over this data set; if it has, data_root of '
            'LoadTeacherEmbedding is not the one under which the images were cached.'
        )
