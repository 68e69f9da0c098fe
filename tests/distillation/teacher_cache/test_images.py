"""The images of a config, in a few bytes each."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config

from rs4d.distillation.teacher_cache import KeySet, TeacherCacheError, hash_keys, rank_of
from rs4d.distillation.teacher_cache.images import ImagesToCache
from rs4d.distillation.teacher_cache.index import ShardRecord, append_record, cached_keys


@DATASETS.register_module(force=True)
class CountedImages:
    """Images that are nothing but names, which are made when asked for."""

    def __init__(self, count: int, start: int = 0, folder: str = 'x', pipeline: tuple = ()) -> None:
        self.count, self.start, self.folder = count, start, folder

    def __len__(self) -> int:
        return self.count

    def get_data_info(self, index: int) -> dict:
        name = f'sa_{(self.start + index) // 1000:06d}/sa_{self.start + index}.jpg'
        return dict(img_key=name, img_path=f'{self.folder}/{name}')


def images(*parts: dict) -> ImagesToCache:
    sets = [dict(type='mmdet.CountedImages') | part for part in parts]
    return ImagesToCache(
        Config(dict(train_dataloader=dict(dataset=dict(datasets=sets)))), ['train']
    )


def keys(*numbers: int) -> list[str]:
    return [f'sa_{number // 1000:06d}/sa_{number}.jpg' for number in numbers]


def test_an_image_takes_twenty_bytes(tmp_path: Path) -> None:
    count = 50_000
    images(dict(count=10))
    for number, first in enumerate(range(0, count // 2, 1000)):
        name = f'rank00000-{number:06d}.safetensors'
        (tmp_path / name).touch()
        record = ShardRecord(name, 0, '', keys(*range(first, first + 1000)))
        append_record(tmp_path, 0, record)
    gc.collect()
    tracemalloc.start()
    found = images(dict(count=count))
    done = cached_keys(tmp_path)
    rows = found.missing(done)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == count
    assert rows.tolist() == list(range(count // 2, count))
    assert held < 20 * count
    assert peak < 50 * count


def test_images_that_are_in_several_data_sets_count_once() -> None:
    found = images(dict(count=4), dict(count=4, start=2), dict(count=2, start=3))
    assert len(found) == 6
    assert [found.key(row) for row in found.missing()] == keys(*range(6))
    assert found.missing(KeySet(hash_keys(keys(0, 5, 9)))).tolist() == [1, 2, 3, 6]
    assert found.key(6) == keys(4)[0]
    with pytest.raises(TeacherCacheError, match=r"'y/sa_000000/sa_3\.jpg'"):
        images(dict(count=4), dict(count=2, start=3, folder='y'))


def test_ranks_share_them() -> None:
    found = images(dict(count=100))
    known = KeySet(hash_keys(keys(*range(10))))
    parts = [found.missing(known, rank=rank, world_size=3).tolist() for rank in range(3)]
    assert sorted(row for part in parts for row in part) == list(range(10, 100))
    for rank, part in enumerate(parts):
        assert part == sorted(part)
        assert set(rank_of(hash_keys(keys(*part)), 3).tolist()) == {rank}


def test_sets_of_keys() -> None:
    some = KeySet(hash_keys(['b', 'a', 'b', 'c', 'b']))
    assert 'a' in some
    assert 'd' not in some
    assert some.doubled().tolist() == hash_keys(['b']).tolist()
    assert some.has(hash_keys(['d', 'c'])).tolist() == [False, True]
    empty = KeySet(np.empty(0, np.uint64))
    assert 'a' not in empty
    assert empty.has(hash_keys(['a'])).tolist() == [False]
    assert len(empty.doubled()) == 0
