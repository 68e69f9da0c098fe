"""Checking a cache against its checksums."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

from .header import read_cache_header
from .index import ShardRecord, cached_keys, read_index
from .keys import KeySet, key_hash
from .skipped import read_skipped, too_many_skipped


def verify_cache(
    folder: str | os.PathLike[str],
    keys: Iterable[str] | None = None,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Compare the shards with their checksums, and the images with those that should be there.

    Args:
        folder: The cache.
        keys: Images that should be in it, or among those that were skipped because they could not
            be read, which may be 1 %; None not to ask.
        rank: With several ranks, each reads its share of the shards; keys are all ranks' business.
        world_size: The number of ranks.
        progress: Called after each shard with the number of shards checked and to check.

    Returns:
        What is wrong, a sentence each; empty if all is well.

    Raises:
        TeacherCacheError: There is no cache, or its index is damaged.
    """
    path = Path(folder)
    read_cache_header(path)
    cached = cached_keys(path)
    problems = _doubled_images(path, cached) + _missing_images(path, cached, keys or ())
    shards = [record.shard for record in read_index(path)]
    unknown = {file.name for file in path.glob('rank*.safetensors')} - set(shards)
    problems += [f'{name} is not in the index.' for name in sorted(unknown)]
    mine = range(rank, len(shards), world_size)
    for number, record in enumerate(read_index(path)):
        if number in mine:
            problems += _check_shard(path, record)
            if progress is not None:
                progress(mine.index(number) + 1, len(mine))
    return problems


def _check_shard(folder: Path, record: ShardRecord) -> list[str]:
    path = folder / record.shard
    if not path.is_file():
        return [f'{record.shard} is missing.']
    if sha256(path.read_bytes()).hexdigest() != record.sha256:
        return [f'{record.shard} is damaged: its checksum is not that of the index.']
    return []


def _doubled_images(folder: Path, cached: KeySet) -> list[str]:
    doubled = set(cached.doubled().tolist())
    places = defaultdict(list)
    for record in read_index(folder) if doubled else ():
        for key in record.keys:
            if key_hash(key) in doubled:
                places[key].append(record.shard)
    return [f"'{key}' is in {' and in '.join(shards)}." for key, shards in places.items()]


def _missing_images(folder: Path, cached: KeySet, keys: Iterable[str]) -> list[str]:
    skipped = read_skipped(folder)
    unread: dict[str, str] = {}
    missing: list[str] = []
    total = count = 0
    for key in keys:
        total += 1
        if key in cached:
            continue
        if key in skipped:
            unread[key] = skipped[key]
        else:
            count += 1
            missing += [key] if count <= 3 else []
    problems = [f'{count} of {total} images are missing, such as {missing}.'] if count else []
    unreadable = too_many_skipped(unread, total)
    return problems + ([unreadable] if unreadable else [])
