"""Checking a cache against its checksums."""

import os
from collections.abc import Callable, Collection
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

from .errors import TeacherCacheError
from .header import CacheHeader, read_header
from .index import ShardRecord, read_index, shard_shapes, tensor_name
from .skipped import read_skipped, too_many_skipped


def verify_cache(
    folder: str | os.PathLike[str],
    keys: Collection[str] | None = None,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Read every shard and compare it with the index and the header.

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
    header = read_header(path)
    records = list(read_index(path))
    problems = []
    places: dict[str, str] = {}
    for record in records:
        for key in record.keys:
            if key in places:
                problems.append(f"'{key}' is in {places[key]} and in {record.shard}.")
            places[key] = record.shard
    unknown = {file.name for file in path.glob('rank*.safetensors')} - {r.shard for r in records}
    problems += [f'{name} is not in the index.' for name in sorted(unknown)]
    if keys is not None:
        skipped = {key: why for key, why in read_skipped(path).items() if key not in places}
        missing = [key for key in keys if key not in places and key not in skipped]
        if missing:
            problems.append(
                f'{len(missing)} of {len(keys)} images are missing, such as {missing[:3]}.'
            )
        unreadable = too_many_skipped({k: skipped[k] for k in keys if k in skipped}, len(keys))
        problems += [unreadable] if unreadable else []
    mine = records[rank::world_size]
    for number, record in enumerate(mine, 1):
        problems += check_shard(path, record, header)
        if progress is not None:
            progress(number, len(mine))
    return problems


def check_shard(folder: Path, record: ShardRecord, header: CacheHeader) -> list[str]:
    """Compare a shard with what the index and the header say of it.

    Args:
        folder: The cache.
        record: The index's record.
        header: The cache's header.

    Returns:
        What is wrong, a sentence each.
    """
    path = folder / record.shard
    if not path.is_file():
        return [f'{record.shard} is missing.']
    data = path.read_bytes()
    if sha256(data).hexdigest() != record.sha256:
        return [f'{record.shard} is damaged: its checksum is not that of the index.']
    try:
        tensors, shapes = load(data), shard_shapes(path)
    except (SafetensorError, TeacherCacheError) as error:
        return [f'{record.shard} cannot be read: {error}.']
    problems = []
    if list(shapes) != record.keys:
        problems.append(f'{record.shard} has other images than the index says.')
    for key in record.keys:
        for name, shape in header.maps.items():
            value = tensors.pop(tensor_name(name, key), None)
            if value is None or list(value.shape) != shape or not value.isfinite().all():
                problems.append(
                    f"{record.shard}: the map '{name}' of '{key}' is missing, of another shape or "
                    'not finite.'
                )
    if tensors:
        problems.append(f'{record.shard} has tensors of no image in the index.')
    return problems
