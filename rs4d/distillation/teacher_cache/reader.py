"""Reading a cache, from any number of processes."""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import SkippedImageError, TeacherCacheError
from .header import CacheHeader, read_header
from .index import read_index, shard_shapes, tensor_name
from .keys import key_hash
from .skipped import read_skipped

_VERIFY = 'tools/cache_teacher.py --verify checks all of it'


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
        self.header: CacheHeader = read_header(folder)
        self.max_open = max_open
        self._open: OrderedDict[int, tuple[Any, dict[str, list[int]]]] = OrderedDict()
        self._shards: list[tuple[str, int]] = []
        hashes, numbers = [], []
        for number, record in enumerate(read_index(self.folder)):
            self._shards.append((record.shard, record.size))
            hashes.append(np.fromiter(map(key_hash, record.keys), np.uint64, len(record.keys)))
            numbers.append(np.full(len(record.keys), number, np.int32))
        if not hashes:
            raise TeacherCacheError(
                f"The teacher cache '{folder}' has no image yet. Let tools/cache_teacher.py finish."
            )
        joined = np.concatenate(hashes)
        order = np.argsort(joined, kind='stable')
        self._hashes, self._numbers = joined[order], np.concatenate(numbers)[order]
        doubled = int((self._hashes[1:] == self._hashes[:-1]).sum())
        if doubled:
            raise TeacherCacheError(
                f"The teacher cache '{folder}' has {doubled} images twice. {_VERIFY} and names them."
            )
        self._skipped = read_skipped(self.folder)

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

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
        """Height and width of the part of an image's input that was not padding.

        Args:
            key: The image's name.

        Returns:
            Both, in pixels.

        Raises:
            TeacherCacheError: As :meth:`read`.
        """
        _, shapes = self._shard(key)
        if key not in shapes:
            raise self._unknown(key)
        height, width = shapes[key]
        return height, width

    def _find(self, key: str) -> int | None:
        wanted = np.uint64(key_hash(key))
        place = int(np.searchsorted(self._hashes, wanted))
        if place < len(self._hashes) and self._hashes[place] == wanted:
            return int(self._numbers[place])
        return None

    def _shard(self, key: str) -> tuple[Any, dict[str, list[int]]]:
        number = self._find(key)
        if number is None:
            raise self._unknown(key)
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        name, size = self._shards[number]
        path = self.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = 'is missing' if found is None else f'has {found} bytes instead of {size}'
            raise TeacherCacheError(
                f"The shard '{path}' of the teacher cache {state}. Copy it again, or delete it and "
                'start tools/cache_teacher.py again, which encodes what is missing.'
            )
        shapes = shard_shapes(path)
        file = safe_open(path, 'pt')
        if (file.metadata() or {}).get('fingerprint') != self.header.fingerprint:
            raise TeacherCacheError(
                f"The shard '{path}' belongs to another teacher cache than the header beside it: it "
                'was made with another teacher, normalisation, pipeline or image size. Keep each '
                'cache in a folder of its own.'
            )
        self._open[number] = (file, shapes)
        if len(self._open) > self.max_open:
            self._open.popitem(last=False)
        return self._open[number]

    def _unknown(self, key: str) -> TeacherCacheError:
        if key in self._skipped:
            return SkippedImageError(
                f"The teacher cache '{self.folder}' has no embedding of the image '{key}', which "
                f'could not be read when the cache was made ({self._skipped[key]}). To have it '
                'tried again, delete skipped-rank*.jsonl there and start tools/cache_teacher.py '
                'again.'
            )
        return TeacherCacheError(
            f"The teacher cache '{self.folder}' has {len(self)} images, but not '{key}'. Let "
            'tools/cache_teacher.py finish over this data set; if it has, data_root of '
            'LoadTeacherEmbedding is not the one under which the images were cached.'
        )
