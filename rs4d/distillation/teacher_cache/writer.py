"""Writing a cache, so that a kill at any moment neither loses nor doubles an image."""

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import IO

import torch
from safetensors.torch import save
from torch import Tensor

from rs4d.files import write_bytes

from .header import CacheHeader, TeacherCacheError
from .index import (
    SHARD_NAME,
    ShardRecord,
    append_record,
    append_skipped,
    cached_keys,
    read_skipped,
    repair_rank,
    tensor_name,
)

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
        self._release = _lock_rank(self.folder, rank, world_size)
        self._tensors: dict[str, Tensor] = {}
        self._shapes: dict[str, list[int]] = {}
        # Parts of an earlier run with more ranks have nobody else to look after them.
        present = {int(match[1]) for match in map(SHARD_NAME.match, os.listdir(folder)) if match}
        for other in sorted(present - {rank}):
            if other % world_size == rank:
                repair_rank(self.folder, other)
        self._number = repair_rank(self.folder, rank)
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
        """Add an image: its name, its maps (C, H, W) by name, and its size without padding.

        Raises:
            TeacherCacheError: A value is not finite or too large for half precision, or the image is
                in the cache already.
        """
        if self.header is None:
            raise RuntimeError('TeacherCacheWriter.start() comes before add().')
        if key in self._shapes or key in self.done:
            raise TeacherCacheError(f"The image '{key}' is in the cache '{self.folder}' already.")
        half = {
            tensor_name(name, key): _half(maps[name].detach(), f"'{name}' of '{key}'")
            for name in self.header.maps
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
        metadata = dict(fingerprint=self.header.fingerprint, img_shapes=json.dumps(self._shapes))
        data = save(self._tensors, metadata)
        name = f'rank{self.rank:05d}-{self._number:06d}.safetensors'
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
            self._release()


def _half(value: Tensor, what: str) -> Tensor:
    largest = float(value.abs().max())
    if not largest <= _HALF_MAX:  # nor if it is NaN
        raise TeacherCacheError(
            f"The teacher's map {what} reaches {largest:.4g}, and embeddings are cached in half "
            f'precision, {_HALF_MAX:.0f} at most. If it is nan or inf, run the teacher in float32 '
            "(--dtype float32), and look at the image and at the teacher's weights; otherwise distil "
            'this teacher without a cache (model.teacher_cache=None).'
        )
    return value.to('cpu', torch.float16).contiguous()


def _lock_rank(folder: Path, rank: int, world_size: int) -> Callable[[], None]:
    """Let one process a rank write, and all with the same number of ranks; return what ends it.

    The locks are the operating system's, which takes them back from a process that is killed.
    """
    with ExitStack() as files:
        _agree_on_world(files.enter_context(_open(folder / 'writers.lock')), folder, world_size)
        if not _try_lock(files.enter_context(_open(folder / f'rank{rank:05d}.lock'))):
            raise TeacherCacheError(
                f"Another process is writing to the teacher cache '{folder}' as rank {rank}. "
                'Give each process its own --rank.'
            )
        return files.pop_all().close


def _open(path: Path) -> IO[str]:
    # To read and write, made if need be, and never emptied by opening it.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), 'r+')


def _agree_on_world(file: IO[str], folder: Path, world_size: int) -> None:
    import fcntl  # not on Windows, where caches can be read and not written

    if _try_lock(file):
        # Nobody else writes; whoever comes next has to agree.
        file.truncate(0)
        file.write(str(world_size))
        file.flush()
    fcntl.flock(file, fcntl.LOCK_SH)
    file.seek(0)
    others = file.read().strip()
    if others != str(world_size):
        raise TeacherCacheError(
            f"Another process is writing to the teacher cache '{folder}' as one of {others} ranks, "
            f'this one as one of {world_size}: both would encode the same images. Wait until it has '
            'ended, or start all with the same --world-size.'
        )


def _try_lock(file: IO[str]) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
