"""A cache, as one or several ranks would write it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cache_samples import make_header, make_maps

from rs4d.distillation.teacher_cache import TeacherCacheWriter


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes images into the cache at tmp_path/cache, as one rank would."""

    def run(keys: list[str], rank: int = 0, world_size: int = 1, per_shard: int = 2) -> Path:
        folder = tmp_path / 'cache'
        writer = TeacherCacheWriter(folder, rank, world_size, per_shard)
        writer.start(make_header())
        for key in keys:
            if key not in writer.done:
                writer.add(key, make_maps(key), (32, 20))
        writer.flush()
        writer.close()
        return folder

    return run
