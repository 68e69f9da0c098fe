"""What goes in comes out, once, whatever happens in between; and what does not belong is refused."""

import json
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cache_samples import make_header, make_maps
from safetensors.torch import load_file

from rs4d.distillation.teacher_cache import (
    SkippedImageError,
    TeacherCacheError,
    TeacherCacheReader,
    TeacherCacheWriter,
    hash_keys,
    image_key,
    rank_of,
    read_cache_header,
    read_skipped,
    verify_cache,
)
from rs4d.distillation.teacher_cache.index import ShardRecord, append_record

Fill = Callable[..., Path]
KEYS = [f'sa_{i // 4:06d}/sa_{i}.jpg' for i in range(9)]


def share(rank: int, world_size: int) -> list[str]:
    ranks = rank_of(hash_keys(KEYS), world_size)
    return [key for key, its in zip(KEYS, ranks, strict=True) if its == rank]


def assert_whole(folder: Path, keys: list[str]) -> None:
    assert verify_cache(folder) == []
    reader = TeacherCacheReader(folder)
    assert len(reader) == len(keys)
    for key in keys:
        maps = reader.read(key, ('embedding', 'block1'))
        for name, value in make_maps(key).items():
            assert torch.equal(maps[name], value.half())
        assert reader.img_shape(key) == (32, 20)


def test_round_trip(fill: Fill) -> None:
    folder = fill(KEYS)
    assert_whole(folder, KEYS)
    assert sorted(path.name for path in folder.glob('*.safetensors'))[-1].endswith(
        '000004.safetensors'
    )
    # Safetensors' own reader finds the tensors under the images' names.
    tensors = load_file(folder / 'rank00000-000000.safetensors')
    assert torch.equal(tensors[f'embedding:{KEYS[0]}'], make_maps(KEYS[0])['embedding'].half())
    assert tensors[f'embedding:{KEYS[0]}'].dtype == torch.float16


def test_ranks_side_by_side(fill: Fill) -> None:
    parts = [share(rank, 3) for rank in range(3)]
    assert sorted(key for part in parts for key in part) == KEYS
    assert sum(bool(part) for part in parts) > 1
    for rank, part in enumerate(parts):
        folder = fill(part, rank, 3)
    assert_whole(folder, KEYS)
    # Another number of ranks finds nothing left to do.
    fill(KEYS, 0, 1)
    assert_whole(folder, KEYS)


def test_an_image_cannot_be_added_twice(tmp_path: Path) -> None:
    writer = TeacherCacheWriter(tmp_path)
    writer.start(make_header())
    writer.add('a', make_maps('a'), (32, 32))
    with pytest.raises(TeacherCacheError, match="'a' is in the cache"):
        writer.add('a', make_maps('a'), (32, 32))


def kill_before_index(folder: Path) -> None:
    """As a kill leaves it between the renaming of a shard and its line in the index."""
    index = folder / 'index-rank00000.jsonl'
    lines = index.read_text().splitlines(keepends=True)
    index.write_text(''.join(lines[:-1]))


def kill_in_index(folder: Path) -> None:
    index = folder / 'index-rank00000.jsonl'
    index.write_bytes(index.read_bytes()[:-20])


def kill_in_shard(folder: Path) -> None:
    (folder / 'rank00000-000009.safetensors.7.part').write_bytes(b'half of a shard')


@pytest.mark.parametrize('kill', [kill_before_index, kill_in_index, kill_in_shard])
@pytest.mark.parametrize('world_size', [1, 2])
def test_a_kill_between_two_steps(fill: Fill, kill: Callable, world_size: int) -> None:
    folder = fill(KEYS[:6], 0, 1)
    kill(folder)
    for rank in reversed(range(world_size)):
        fill(share(rank, world_size), rank, world_size)
    assert_whole(folder, KEYS)
    assert not list(folder.glob('*.part'))


def write_on(folder: Path) -> None:
    """Write until killed."""
    torch.set_num_threads(1)
    writer = TeacherCacheWriter(folder, images_per_shard=3)
    writer.start(make_header())
    for i in range(100_000):
        if f'{i}.jpg' not in writer.done:
            writer.add(f'{i}.jpg', make_maps(f'{i}.jpg'), (32, 20))


@pytest.mark.skipif(sys.platform != 'linux', reason='forks')
def test_a_killed_process_at_any_moment(tmp_path: Path) -> None:
    fork = multiprocessing.get_context('fork')
    written = [0]
    for wait in (0.003, 0.008):
        process = fork.Process(target=write_on, args=(tmp_path / 'cache',))
        process.start()
        deadline = time.monotonic() + 60
        # The first new one is in the index when the second one is there.
        while len(list((tmp_path / 'cache').glob('*.safetensors'))) < written[-1] // 3 + 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(wait)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        writer = TeacherCacheWriter(tmp_path / 'cache')
        written.append(len(writer.done))
        writer.close()
        assert_whole(tmp_path / 'cache', [f'{i}.jpg' for i in range(written[-1])])
    assert written[0] < written[1] < written[2]


@pytest.mark.parametrize('line', [True, False])
def test_an_interruption_while_the_index_is_written(
    fill: Fill, monkeypatch: pytest.MonkeyPatch, line: bool
) -> None:
    def interrupted(folder: Path, rank: int, record: ShardRecord) -> None:
        if line:
            append_record(folder, rank, record)
        monkeypatch.undo()
        raise KeyboardInterrupt

    folder = fill(KEYS[:2])
    monkeypatch.setattr('rs4d.distillation.teacher_cache.writer.append_record', interrupted)
    writer = TeacherCacheWriter(folder, images_per_shard=2)
    writer.start(make_header())
    writer.add(KEYS[2], make_maps(KEYS[2]), (32, 20))
    with pytest.raises(KeyboardInterrupt):
        writer.add(KEYS[3], make_maps(KEYS[3]), (32, 20))
    writer.close()
    if not line:
        fill([])
    assert_whole(folder, KEYS[:4])


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    first = TeacherCacheWriter(tmp_path, 0, 2)
    with pytest.raises(TeacherCacheError, match='as rank 0'):
        TeacherCacheWriter(tmp_path, 0, 2)
    with pytest.raises(TeacherCacheError, match='one of 2 ranks, this one as one of 3'):
        TeacherCacheWriter(tmp_path, 1, 3)
    second = TeacherCacheWriter(tmp_path, 1, 2)
    first.close()
    second.close()
    TeacherCacheWriter(tmp_path, 1, 3).close()


def test_a_damaged_shard_is_found_and_replaced(fill: Fill) -> None:
    folder = fill(KEYS)
    shard = folder / 'rank00000-000001.safetensors'
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    (problem,) = verify_cache(folder)
    assert shard.name in problem
    assert 'checksum' in problem
    assert verify_cache(folder, rank=0, world_size=2) == []  # the other rank's shard
    shard.unlink()
    assert 'is missing' in verify_cache(folder)[0]
    with pytest.raises(TeacherCacheError, match=rf'{shard.name}.*cannot be read'):
        TeacherCacheReader(folder).read(KEYS[2], ('embedding',))
    fill(KEYS)
    assert_whole(folder, KEYS)


def test_a_cut_off_shard_is_named(fill: Fill) -> None:
    folder = fill(KEYS)
    shard = folder / 'rank00000-000001.safetensors'
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(TeacherCacheError, match=rf'{shard.name}.*cannot be read.*Copy it again'):
        TeacherCacheReader(folder).read(KEYS[2], ('embedding',))


def test_verify_finds_doubled_images(fill: Fill) -> None:
    folder = fill(KEYS)
    shard = folder / 'rank00000-000000.safetensors'
    (folder / 'rank00007-000000.safetensors').write_bytes(shard.read_bytes())
    line = json.loads((folder / 'index-rank00000.jsonl').read_text().splitlines()[0])
    line['shard'] = 'rank00007-000000.safetensors'
    (folder / 'index-rank00007.jsonl').write_text(json.dumps(line) + '\n')
    problems = ' '.join(verify_cache(folder))
    assert f"'{KEYS[0]}' is in rank00000-000000.safetensors and in rank00007" in problems
    with pytest.raises(TeacherCacheError, match='2 images twice'):
        TeacherCacheReader(folder)


def test_an_unknown_image(fill: Fill) -> None:
    reader = TeacherCacheReader(fill(KEYS))
    assert KEYS[0] in reader
    assert 'b.jpg' not in reader
    with pytest.raises(TeacherCacheError, match=r"9 images, but not 'b\.jpg'.*data_root"):
        reader.read('b.jpg', ('embedding',))


def test_a_reader_can_be_sent_to_another_process(fill: Fill) -> None:
    reader = TeacherCacheReader(fill(KEYS))
    first = reader.read(KEYS[0], ('embedding',))['embedding']
    copy = pickle.loads(pickle.dumps(reader))
    assert torch.equal(copy.read(KEYS[0], ('embedding',))['embedding'], first)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (float('nan'), 'reaches nan'),
        (float('inf'), 'reaches inf'),
        (7e4, 'reaches 7e\\+04, .* 65504 at most'),
    ],
)
def test_what_half_precision_cannot_hold(tmp_path: Path, value: float, message: str) -> None:
    writer = TeacherCacheWriter(tmp_path)
    writer.start(make_header())
    maps = make_maps('a.jpg')
    maps['block1'][0, 0, 0] = value
    with pytest.raises(TeacherCacheError, match=rf"'block1' of 'a\.jpg'.*{message}"):
        writer.add('a.jpg', maps, (32, 32))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (
            dict(teacher=dict(type='SAMViT', arch='large', checkpoint='sam.pth')),
            'arch "base" in the',
        ),
        (dict(pipeline=[]), 'pipeline'),
        (dict(image_size=[64, 64]), 'size of the images'),
        (dict(weights='1'), "teacher's weights"),
        (dict(normalisation={}), 'normalisation'),
        (dict(precision='float16'), '--dtype'),
    ],
)
def test_a_cache_is_of_one_thing(fill: Fill, changes: dict, words: str) -> None:
    folder = fill(KEYS)
    writer = TeacherCacheWriter(folder)
    with pytest.raises(TeacherCacheError, match=words) as raised:
        writer.start(make_header(**changes))
    assert str(raised.value).count(' in the config') == 1  # and nothing else


def test_a_shard_of_another_cache(fill: Fill, tmp_path: Path) -> None:
    folder = fill(KEYS)
    header = make_header(weights='1')
    (folder / 'header.json').unlink()
    header.write(folder)
    with pytest.raises(TeacherCacheError, match='another teacher cache than the header'):
        TeacherCacheReader(folder).read(KEYS[0], ('embedding',))


def test_a_header_that_was_edited(fill: Fill) -> None:
    path = fill(KEYS) / 'header.json'
    path.write_text(path.read_text().replace('"base"', '"huge"'))
    with pytest.raises(TeacherCacheError, match='another teacher cache than the header'):
        TeacherCacheReader(path.parent).read(KEYS[0], ('embedding',))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'no cache of teacher embeddings'),
        ('{', 'or damaged'),
        ('{}', 'no header of a teacher cache'),
        ('{"format": "rs4d-teacher-cache", "version": 9}', 'version 9'),
        ('{"format": "rs4d-teacher-cache", "version": 1}', 'missing 7'),
    ],
)
def test_no_header(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / 'header.json').write_text(content)
    with pytest.raises(TeacherCacheError, match=message):
        read_cache_header(tmp_path)


def test_a_damaged_index(fill: Fill) -> None:
    folder = fill(KEYS)
    index = folder / 'index-rank00000.jsonl'
    index.write_text('nonsense\n' + index.read_text())
    with pytest.raises(TeacherCacheError, match=r'Line 1 of .*index-rank00000.*Delete it'):
        TeacherCacheReader(folder)
    # As the message says.
    index.unlink()
    fill(KEYS)
    assert_whole(folder, KEYS)


def test_keys_do_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    for top in ('here', 'there/data'):
        root = tmp_path / top
        info = dict(img_path=os.path.join(root, 'sa_000000', 'a.jpg'))
        assert image_key(info, [str(tmp_path / 'no'), f'{root}/']) == 'sa_000000/a.jpg'
    assert image_key(dict(img_key='sa_000001.tar/a.jpg', img_path='x'), []) == 'sa_000001.tar/a.jpg'
    with pytest.raises(TeacherCacheError, match='none of the data roots'):
        image_key(info, ['elsewhere'])


def skip(folder: Path, *keys: str, rank: int = 0) -> None:
    writer = TeacherCacheWriter(folder, rank, 2)
    for key in keys:
        writer.skip(key, f'no {key}')
    writer.close()


def test_a_skipped_image_is_told_from_a_missing_one(fill: Fill) -> None:
    folder = fill(KEYS)
    keys = [*KEYS, *(f'more/{i}' for i in range(191))]
    fill(keys[:198])
    skip(folder, keys[198])
    skip(folder, keys[199], rank=1)
    assert read_skipped(folder) == {key: f'no {key}' for key in keys[198:]}
    assert verify_cache(folder) == []
    reader = TeacherCacheReader(folder)
    assert keys[198] not in reader
    with pytest.raises(SkippedImageError, match=rf'could not be read.*no {keys[198]}'):
        reader.img_shape(keys[198])
    with pytest.raises(TeacherCacheError, match=r"but not 'gone'"):
        reader.read('gone', ('embedding',))


def test_a_kill_while_noting_a_skipped_image(tmp_path: Path) -> None:
    skip(tmp_path, 'a', 'b')
    file = tmp_path / 'skipped-rank00000.jsonl'
    file.write_bytes(file.read_bytes()[:-5])
    assert read_skipped(tmp_path) == {'a': 'no a'}
    skip(tmp_path, 'c', 'a')
    assert read_skipped(tmp_path) == {'a': 'no a', 'c': 'no c'}
    file.write_text('{"key": 1\n')
    with pytest.raises(TeacherCacheError, match=r'Line 1 of .*skipped-rank00000\.jsonl.* damaged'):
        read_skipped(tmp_path)
