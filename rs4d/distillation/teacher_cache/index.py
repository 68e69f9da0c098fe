"""Which image is in which shard: one line of JSON a shard, one file a rank, only ever added to.

A shard's renaming to its final name is what commits it. The index says nothing that the shards do not
say, so that a line that a kill kept from being written is written when the rank starts again.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from rs4d.files import remove_parts

from .errors import TeacherCacheError
from .json_lines import append_line, read_lines, rewrite_lines
from .keys import KeySet, hash_keys

SHARD_NAME = re.compile(r'rank(\d{5})-(\d{6})\.safetensors')
_REMAKE = (
    'Delete it and start rs4d cache-teacher again with the same --world-size; it encodes only '
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


def tensor_name(map_name: str, key: str) -> str:
    """Name of an image's map in a shard."""
    return f'{map_name}:{key}'


def append_record(folder: Path, rank: int, record: ShardRecord) -> None:
    """Add a shard to a rank's part of the index, and wait until it is on the disk."""
    append_line(_index_path(folder, rank), **asdict(record))


def read_index(folder: Path) -> Iterator[ShardRecord]:
    """Read all ranks' parts of the index, a shard at a time."""
    for path in sorted(folder.glob('index-rank*.jsonl')):
        yield from read_lines(path, ShardRecord, _REMAKE)


def repair_index(folder: Path, rank: int) -> int:
    """Bring a rank's part of the index in line with its shards, after a kill or a deletion.

    No other process may be writing for the rank. Returns the number of its next shard.
    """
    remove_parts(folder, f'rank{rank:05d}-')
    remove_parts(folder, f'index-rank{rank:05d}')
    unknown = {path.name for path in folder.glob(f'rank{rank:05d}-*.safetensors')}
    numbers = [int(match[2]) for match in map(SHARD_NAME.fullmatch, unknown) if match]

    def kept() -> Iterator[dict]:
        for record in read_lines(path, ShardRecord, _REMAKE):
            if record.shard in unknown:
                unknown.discard(record.shard)
                yield asdict(record)

    path = _index_path(folder, rank)
    if path.exists():
        rewrite_lines(path, kept())
    for name in sorted(unknown):
        append_record(folder, rank, describe_shard(folder / name))
    return max(numbers, default=-1) + 1


def cached_keys(folder: Path) -> KeySet:
    """Find the images that all ranks' shards have, also those that the index does not know yet."""
    shards = {path.name for path in folder.glob('rank*.safetensors')}
    hashes: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    for record in read_index(folder):
        if record.shard in shards:
            shards.discard(record.shard)
            hashes.append(hash_keys(record.keys, len(record.keys)))
    hashes += [hash_keys(shard_shapes(folder / name)) for name in sorted(shards)]
    return KeySet(np.concatenate(hashes))


def describe_shard(shard: Path) -> ShardRecord:
    """Make the index's record of a shard from the file."""
    data = shard.read_bytes()
    return ShardRecord(shard.name, len(data), sha256(data).hexdigest(), list(shard_shapes(shard)))


def shard_shapes(shard: Path) -> dict[str, list[int]]:
    """Read from a shard, by key, height and width of the part of each image that is not padding."""
    try:
        with safe_open(shard, 'pt') as file:
            return json.loads(file.metadata()['img_shapes'])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TeacherCacheError(
            f"The shard '{shard}' of the teacher cache cannot be read ({error}). {_REMAKE}"
        ) from error


def _index_path(folder: Path, rank: int) -> Path:
    return folder / f'index-rank{rank:05d}.jsonl'
