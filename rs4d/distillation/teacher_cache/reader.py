"""Reading a cache, from any number of processes, and checking it against its checksums."""

import os
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import Tensor

from .header import CacheHeader, SkippedImageError, TeacherCacheError, read_cache_header
from .index import (
    RETRY,
    ShardRecord,
    cached_keys,
    open_shard,
    read_index,
    read_skipped,
    tensor_name,
)
from .keys import KeySet, hash_keys, key_hash

_VERIFY = 'rs4d cache-teacher --verify checks all of it'
_MAX_OPEN = 32


class TeacherCacheReader:
    """Look up embeddings by the images' keys.

    The index is kept as two arrays, 12 bytes an image, that forked workers of a data loader share.
    Some shards are kept open; they are mapped into memory and not read whole.

    Args:
        folder: The cache.

    Attributes:
        header: What the cache is of.

    Raises:
        TeacherCacheError: There is no cache, it is empty, or its index is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.header: CacheHeader = read_cache_header(folder)
        self._open: OrderedDict[int, tuple[Any, dict[str, list[int]]]] = OrderedDict()
        self._shards: list[str] = []
        hashes, numbers = [], []
        for number, record in enumerate(read_index(self.folder)):
            self._shards.append(record.shard)
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
        """Read maps of an image by their names, each (C, H, W) in float16.

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
            self._open[number] = self._open_own(self.folder / self._shards[number])
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _open_own(self, path: Path) -> tuple[Any, dict[str, list[int]]]:
        file, shapes = open_shard(path)
        if file.metadata().get('fingerprint') != self.header.fingerprint:
            raise TeacherCacheError(
                f"The shard '{path}' belongs to another teacher cache than the header beside it. Keep "
                'each cache in a folder of its own, and its header as it was written.'
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


def verify_cache(
    folder: str | os.PathLike[str],
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Compare the shards with their checksums, and look for images that are there twice.

    With several ranks, each reads its share of the shards. ``progress`` is called after each with the
    number of shards checked and to check.

    Returns:
        What is wrong, a sentence each.

    Raises:
        TeacherCacheError: There is no cache, or its index is damaged.
    """
    path = Path(folder)
    read_cache_header(path)
    doubled = set(cached_keys(path).doubled().tolist())
    places: dict[str, list[str]] = {}
    shards = []
    for record in read_index(path):
        shards.append(record.shard)
        for key in record.keys if doubled else ():
            if key_hash(key) in doubled:
                places.setdefault(key, []).append(record.shard)
    problems = [f"'{key}' is in {' and in '.join(names)}." for key, names in places.items()]
    unknown = {file.name for file in path.glob('rank*.safetensors')} - set(shards)
    problems += [f'{name} is not in the index.' for name in sorted(unknown)]
    mine = range(rank, len(shards), world_size)
    for number, record in enumerate(read_index(path)):
        if number in mine:
            problems += _check_shard(path / record.shard, record)
            if progress is not None:
                progress(mine.index(number) + 1, len(mine))
    return problems


def _check_shard(path: Path, record: ShardRecord) -> list[str]:
    if not path.is_file():
        return [f'{record.shard} is missing.']
    if sha256(path.read_bytes()).hexdigest() != record.sha256:
        return [f'{record.shard} is damaged: its checksum is not that of the index.']
    return []
