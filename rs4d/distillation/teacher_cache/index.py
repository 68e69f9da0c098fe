"""Which image is in which shard: one line of JSON a shard, one file a rank, only ever added to.

A shard's renaming to its final name is what commits it. The index says nothing that the shards do not
say, so that a line that a kill kept from being written is written when the rank starts again.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .errors import TeacherCacheError

SHARD_NAME = re.compile(r'rank(\d{5})-(\d{6})\.safetensors')
_REMAKE = (
    'Delete it and start tools/cache_teacher.py again with the same --world-size; it encodes only '
    'what is missing.'
)


@dataclass(frozen=True)
class ShardRecord:
    """One shard in the index.

    Args:
        shard: File name.
        size: Bytes.
        sha256: Checksum of the file.
        keys: The images in it.
    """

    shard: str
    size: int
    sha256: str
    keys: list[str]


def shard_name(rank: int, number: int) -> str:
    """File name of a rank's shard."""
    return f'rank{rank:05d}-{number:06d}.safetensors'


def index_path(folder: Path, rank: int) -> Path:
    """The part of the index that a rank writes."""
    return folder / f'index-rank{rank:05d}.jsonl'


def tensor_name(map_name: str, key: str) -> str:
    """Name of an image's map in a shard."""
    return f'{map_name}:{key}'


def append_record(folder: Path, rank: int, record: ShardRecord) -> None:
    """Add a shard to a rank's part of the index, and wait until it is on the disk.

    Args:
        folder: The cache.
        rank: The rank.
        record: The shard.
    """
    with index_path(folder, rank).open('a') as file:
        file.write(_line(record))
        file.flush()
        os.fsync(file.fileno())


def read_index(folder: Path) -> Iterator[ShardRecord]:
    """Read all ranks' parts of the index.

    A last line without an end is one that is being written or that a kill cut off; it is left out.

    Args:
        folder: The cache.

    Yields:
        The shards.

    Raises:
        TeacherCacheError: A line is damaged.
    """
    for path in sorted(folder.glob('index-rank*.jsonl')):
        yield from _read_part(path)


def _read_part(path: Path) -> Iterator[ShardRecord]:
    with path.open() as file:
        for number, line in enumerate(file, 1):
            if not line.endswith('\n'):
                break
            try:
                yield ShardRecord(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise TeacherCacheError(
                    f"Line {number} of the index '{path}' is damaged ({error}). {_REMAKE}"
                ) from error


def _line(record: ShardRecord) -> str:
    return json.dumps(asdict(record)) + '\n'


def repair_index(folder: Path, rank: int) -> int:
    """Bring a rank's part of the index in line with its shards, after a kill or a deletion.

    Args:
        folder: The cache.
        rank: The rank; no other process may be writing for it.

    Returns:
        The number of the rank's next shard.
    """
    for leftover in folder.glob(f'rank{rank:05d}-*.part'):
        leftover.unlink()
    shards = sorted(folder.glob(f'rank{rank:05d}-*.safetensors'))
    names = {shard.name for shard in shards}
    path = index_path(folder, rank)
    known = set()
    if path.exists():
        kept = [record for record in _read_part(path) if record.shard in names]
        known = {record.shard for record in kept}
        write_whole(path, ''.join(map(_line, kept)).encode())
    for shard in shards:
        if shard.name not in known:
            append_record(folder, rank, describe_shard(shard))
    numbers = [int(match[2]) for match in map(SHARD_NAME.fullmatch, names) if match]
    return max(numbers, default=-1) + 1


def done_keys(folder: Path) -> set[str]:
    """Find the images that all ranks' shards have, also those that the index does not know yet.

    Args:
        folder: The cache.

    Returns:
        Their keys.
    """
    shards = {path.name: path for path in folder.glob('rank*.safetensors')}
    done = set()
    for record in read_index(folder):
        if shards.pop(record.shard, None) is not None:
            done.update(record.keys)
    for shard in shards.values():
        done.update(shard_shapes(shard))
    return done


def describe_shard(shard: Path) -> ShardRecord:
    """Make the index's record of a shard from the file."""
    data = shard.read_bytes()
    return ShardRecord(shard.name, len(data), sha256(data).hexdigest(), list(shard_shapes(shard)))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whenever the process is killed.

    Args:
        path: The file.
        data: Its contents.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        with part.open('wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def shard_shapes(shard: Path) -> dict[str, list[int]]:
    """Read from a shard how much of each of its images is not padding.

    Args:
        shard: The file.

    Returns:
        Height and width of the image's own area by key.

    Raises:
        TeacherCacheError: The file is damaged.
    """
    try:
        with safe_open(shard, 'pt') as file:
            return json.loads(file.metadata()['img_shapes'])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TeacherCacheError(
            f"The shard '{shard}' of the teacher cache cannot be read ({error}). {_REMAKE}"
        ) from error
