"""Writing a cache, so that a kill at any moment neither loses nor doubles an image."""

import json
import os
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from rs4d.files import write_bytes

from .errors import TeacherCacheError
from .header import CacheHeader
from .index import (
    SHARD_NAME,
    ShardRecord,
    append_record,
    cached_keys,
    repair_index,
    shard_name,
    tensor_name,
)
from .locks import WriterLock
from .skipped import append_skipped, read_skipped, repair_skipped

_HALF_MAX = torch.finfo(torch.float16).max


class TeacherCacheWriter:
    """Write one rank's shards and its part of the index; leaving a ``with`` block closes it.

    Images gather in memory until a shard is full; the shard is written under a temporary name,
    synced and renamed, and only then noted in the index. What was in memory when a process was killed
    is encoded again by the next one.

    Args:
        folder: The cache; made if it does not exist.
        rank: This process' rank.
        world_size: How many ranks write.
        images_per_shard: Images in a full shard.

    Attributes:
        done: The images that were in the cache at the start, 8 bytes each.
        header: What the embeddings are of, once that has been said.
        skipped: Reasons by the keys of the images that could not be read.

    Raises:
        TeacherCacheError: Another process writes as this rank or with another number of ranks, or the
            index is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        rank: int = 0,
        world_size: int = 1,
        images_per_shard: int = 128,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rank = rank
        self.images_per_shard = images_per_shard
        self.header: CacheHeader | None = None
        self._lock = WriterLock(self.folder, rank, world_size)
        self._tensors: dict[str, Tensor] = {}
        self._shapes: dict[str, list[int]] = {}
        # Parts of an earlier run with more ranks have nobody else to look after them.
        present = {int(match[1]) for match in map(SHARD_NAME.match, os.listdir(folder)) if match}
        for other in sorted(present - {rank}):
            if other % world_size == rank:
                repair_index(self.folder, other)
        self._number = repair_index(self.folder, rank)
        repair_skipped(self.folder, rank)
        self.done = cached_keys(self.folder)
        self.skipped = read_skipped(self.folder)

    def __enter__(self) -> 'TeacherCacheWriter':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self, header: CacheHeader) -> None:
        """Say what the embeddings are of, before the first; a cache of something else is refused."""
        header.write(self.folder)
        self.header = header

    def add(self, key: str, maps: dict[str, Tensor], img_shape: tuple[int, int]) -> None:
        """Add an image.

        Args:
            key: The image's name.
            maps: Its maps (C, H, W) by name, as in the header.
            img_shape: Height and width of the part of the input that is not padding.

        Raises:
            TeacherCacheError: A value is not finite or too large for half precision, a map has not
                the shape that the header says, or the image is in the cache already.
        """
        if self.header is None:
            raise RuntimeError('TeacherCacheWriter.start() comes before add().')
        if key in self._shapes or key in self.done:
            raise TeacherCacheError(f"The image '{key}' is in the cache '{self.folder}' already.")
        half = {
            tensor_name(name, key): self._half(maps[name].detach(), shape, f"'{name}' of '{key}'")
            for name, shape in self.header.maps.items()
        }
        self._tensors |= half
        self._shapes[key] = [int(side) for side in img_shape]
        if len(self._shapes) >= self.images_per_shard:
            self.flush()

    def skip(self, key: str, reason: str) -> None:
        """Note that an image cannot be read and why, so that it is neither missed nor tried again."""
        if key not in self.skipped:
            append_skipped(self.folder, self.rank, key, reason)
            self.skipped[key] = reason

    def flush(self) -> None:
        """Write the images that are in memory as a shard."""
        if not self._shapes or self.header is None:
            return
        metadata = dict(
            fingerprint=self.header.fingerprint, img_shapes=json.dumps(self._shapes, indent=None)
        )
        data = save(self._tensors, metadata)
        name = shard_name(self.rank, self._number)
        write_bytes(self.folder / name, data)
        record = ShardRecord(name, len(data), sha256(data).hexdigest(), list(self._shapes))
        # First, so that Ctrl-C while the line is written does not have it written again.
        self._number += 1
        self._tensors, self._shapes = {}, {}
        append_record(self.folder, self.rank, record)

    def close(self) -> None:
        """Write what is in memory, and let other processes write as this rank."""
        try:
            self.flush()
        finally:
            self._lock.release()

    def _half(self, value: Tensor, shape: list[int], what: str) -> Tensor:
        if list(value.shape) != shape:
            raise TeacherCacheError(
                f"The teacher's map {what} is {list(value.shape)}, but the cache '{self.folder}' has "
                f'{shape}. Bring all images to one size in the pipeline (Resize and '
                'PadKeepingShape).'
            )
        if not value.isfinite().all():
            raise TeacherCacheError(
                f"The teacher's map {what} has values that are not finite. Run the teacher in float32 "
                "(--dtype float32), and look at the image and at the teacher's weights."
            )
        largest = float(value.abs().max())
        if largest > _HALF_MAX:
            raise TeacherCacheError(
                f"The teacher's map {what} reaches {largest:.4g}, beyond the {_HALF_MAX:.0f} of half "
                'precision in which embeddings are cached. Distil this teacher without a cache '
                '(model.teacher_cache=None), or choose another of its maps.'
            )
        return value.to('cpu', torch.float16).contiguous()
