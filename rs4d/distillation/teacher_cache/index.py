"""Which image is in which shard, and which could not be read: a line of JSON each, one file a rank.

Lines are only ever added. A shard's renaming to its final name is what commits it. The index says
nothing that the shards do not say, so that a line that a kill kept from being written is written when
the rank starts again.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from rs4d.files import remove_parts, written_whole

from .header import TeacherCacheError
from .keys import KeySet, hash_keys

T = TypeVar('T')
SHARD_NAME = re.compile(r'rank(\d{5})-(\d{6})\.safetensors')
_SKIPPED = 'skipped-rank*.jsonl'
RETRY = f'delete {_SKIPPED} in the cache and start rs4d cache-teacher again'
_REMAKE = (
    'Delete it and start rs4d cache-teacher again with the same --world-size; it encodes only '
    'what is missing.'
)


@dataclass(frozen=True)
class ShardRecord:
    """One shard in the index: file name, bytes, checksum of the file, and the images in it."""

    shard: str
    size: int
    sha256: str
    keys: list[str]


def tensor_name(map_name: str, key: str) -> str:
    """Name of an image's map in a shard."""
    return f'{map_name}:{key}'


def append_record(folder: Path, rank: int, record: ShardRecord) -> None:
    """Add a shard to a rank's part of the index, and wait until it is on the disk."""
    _append_line(_index_path(folder, rank), asdict(record))


def read_index(folder: Path) -> Iterator[ShardRecord]:
    """Read all ranks' parts of the index, a shard at a time."""
    for path in sorted(folder.glob('index-rank*.jsonl')):
        yield from _read_lines(path, ShardRecord)


def append_skipped(folder: Path, rank: int, key: str, reason: str) -> None:
    """Note an image and why it could not be read, and wait until that is on the disk."""
    _append_line(_skipped_path(folder, rank), dict(key=key, reason=reason))


def read_skipped(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Read which images all ranks have skipped: from their keys to the reasons."""
    skipped: dict[str, str] = {}
    for path in sorted(Path(folder).glob(_SKIPPED)):
        skipped.update(_read_lines(path, lambda key, reason: (key, reason)))
    return skipped


def repair_rank(folder: Path, rank: int) -> int:
    """Bring a rank's files in line with its shards, after a kill or a deletion.

    No other process may be writing for the rank. Returns the number of its next shard.
    """
    remove_parts(folder, f'rank{rank:05d}-')
    remove_parts(folder, f'index-rank{rank:05d}')
    unknown = {path.name for path in folder.glob(f'rank{rank:05d}-*.safetensors')}
    numbers = [int(match[2]) for match in map(SHARD_NAME.fullmatch, unknown) if match]

    def kept() -> Iterator[dict]:
        for record in _read_lines(index, ShardRecord):
            if record.shard in unknown:
                unknown.discard(record.shard)
                yield asdict(record)

    index, skipped = _index_path(folder, rank), _skipped_path(folder, rank)
    if index.exists():
        _rewrite_lines(index, kept())
    for name in sorted(unknown):
        append_record(folder, rank, _describe_shard(folder / name))
    if skipped.exists():
        _rewrite_lines(skipped, _read_lines(skipped, dict))
    return max(numbers, default=-1) + 1


def cached_keys(folder: Path) -> KeySet:
    """Find the images that all ranks' shards have, also those that the index does not know yet."""
    shards = {path.name for path in folder.glob('rank*.safetensors')}
    hashes: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    for record in read_index(folder):
        if record.shard in shards:
            shards.discard(record.shard)
            hashes.append(hash_keys(record.keys, len(record.keys)))
    hashes += [hash_keys(open_shard(folder / name)[1]) for name in sorted(shards)]
    return KeySet(np.concatenate(hashes))


def open_shard(shard: Path) -> tuple[Any, dict[str, list[int]]]:
    """Open a shard; also, by key, height and width of the part of each image that is not padding."""
    try:
        file = safe_open(shard, 'pt')
        return file, json.loads(file.metadata()['img_shapes'])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TeacherCacheError(
            f"The shard '{shard}' of the teacher cache cannot be read ({error}). Copy it again, or: "
            f'{_REMAKE}'
        ) from error


def _describe_shard(shard: Path) -> ShardRecord:
    data = shard.read_bytes()
    return ShardRecord(shard.name, len(data), sha256(data).hexdigest(), list(open_shard(shard)[1]))


def _index_path(folder: Path, rank: int) -> Path:
    return folder / f'index-rank{rank:05d}.jsonl'


def _skipped_path(folder: Path, rank: int) -> Path:
    return folder / f'skipped-rank{rank:05d}.jsonl'


def _append_line(path: Path, entry: dict[str, Any]) -> None:
    with path.open('a') as file:
        file.write(json.dumps(entry) + '\n')
        file.flush()
        os.fsync(file.fileno())


def _read_lines(path: Path, make: Callable[..., T]) -> Iterator[T]:
    with path.open() as file:
        for number, line in enumerate(file, 1):
            if not line.endswith('\n'):
                break  # it is being written, or a kill cut it off
            try:
                yield make(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise TeacherCacheError(
                    f"Line {number} of '{path}' is damaged ({error}). {_REMAKE}"
                ) from error


def _rewrite_lines(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write a file anew from entries, which may still be being read from it."""
    with written_whole(path) as part, part.open('w') as file:
        file.writelines(json.dumps(entry) + '\n' for entry in entries)
