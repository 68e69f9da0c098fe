"""Indices of tar shards and reading by offset, on whole and on damaged archives."""

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest

from rs4d.datasets.tar_shards import index_shard, read_range

FILES = {f'sa_{i}.jpg': os.urandom(700 + i) for i in range(5)}


@pytest.fixture
def shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    path = tmp_path / 'data' / 'sa_000000.tar'
    path.parent.mkdir()
    with tarfile.open(path, 'w') as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(f'./{name}')
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def read_all(shard: Path) -> dict[str, bytes]:
    index = index_shard(shard)
    return {name: read_range(shard, *place) for name, place in index.files.items()}


def test_members_read_as_tarfile_reads_them(shard: Path) -> None:
    assert read_all(shard) == FILES
    assert index_shard(shard).damage == []


def test_index_is_kept_until_the_shard_changes(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = index_shard(shard)
    index = shard.with_name('sa_000000.tar.index.json')
    assert index.is_file()
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, 'open', lambda *_, **__: pytest.fail('read again'))
        assert index_shard(shard) == first
    with tarfile.open(shard, 'a') as archive:
        archive.addfile(tarfile.TarInfo('new.jpg'))
    assert len(index_shard(shard).files) == len(first.files) + 1
    index.write_text(index.read_text()[:-20])  # half an index
    assert len(index_shard(shard).files) == len(first.files) + 1


def test_read_only_folder_keeps_its_index_elsewhere(
    shard: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from rs4d.datasets import tar_shards

    write = tar_shards.write_text

    def refuse(place: Path, text: str) -> None:
        if place.parent == shard.parent:
            raise PermissionError(place)
        write(place, text)

    monkeypatch.setattr(tar_shards, 'write_text', refuse)
    first = index_shard(shard)
    assert not shard.with_name('sa_000000.tar.index.json').exists()
    assert len(list((tmp_path / 'cache').rglob('*.json'))) == 1
    monkeypatch.setattr(tarfile, 'open', lambda *_, **__: pytest.fail('read again'))
    assert index_shard(shard) == first


@pytest.mark.parametrize('keep', [0, 100, 600, 1536 + 100, 2 * 1536, 2 * 1536 + 100, 4 * 1536])
def test_what_is_whole_of_a_cut_off_shard_is_listed(shard: Path, keep: int) -> None:
    shard.write_bytes(shard.read_bytes()[:keep])
    index = index_shard(shard)
    assert index.damage
    assert len(index.files) == keep // 1536
    assert read_all(shard) == dict(list(FILES.items())[: keep // 1536])


def test_a_broken_header_does_not_pass_for_the_end(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[1536 + 20 : 1536 + 60] = b'z' * 40
    shard.write_bytes(data)
    index = index_shard(shard)
    assert list(index.files) == ['sa_0.jpg']
    assert 'sa_0.jpg' in index.damage[0]
    assert index.lost == []
    assert index.unread == len(data) - 1536


def test_what_is_cut_off_is_named(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: 2 * 1536 + 600])
    for _ in range(2):  # made, and read again
        index = index_shard(shard)
        assert (index.lost, index.unread) == (['sa_2.jpg'], 0)


def test_full_disk_leaves_nothing_behind(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'replace', full)
    assert list(read_all(shard)) == list(FILES)
    assert [path.name for path in shard.parents[1].rglob('*') if path.is_file()] == [shard.name]


def add(archive: tarfile.TarFile, name: str, data: bytes = b'', **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in fields.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


def test_links_are_read_or_named(shard: Path) -> None:
    with tarfile.open(shard, 'a') as archive:
        add(archive, 'deep/hard.jpg', type=tarfile.LNKTYPE, linkname='./sa_1.jpg')
        add(archive, 'deep/soft.jpg', type=tarfile.SYMTYPE, linkname='../sa_2.jpg')
        add(archive, 'chain.jpg', type=tarfile.SYMTYPE, linkname='deep/soft.jpg')
    links = {f'{n}.jpg': FILES[f'sa_{i}.jpg'] for n, i in (('deep/hard', 1), ('deep/soft', 2))}
    assert read_all(shard) == FILES | links | {'chain.jpg': FILES['sa_2.jpg']}
    with tarfile.open(shard, 'a') as archive:
        add(archive, 'gone.jpg', type=tarfile.SYMTYPE, linkname='/elsewhere/sa_9.jpg')
        add(archive, 'loop.jpg', type=tarfile.SYMTYPE, linkname='loop.jpg')
    index = index_shard(shard)
    assert sorted(index.lost) == ['gone.jpg', 'loop.jpg']
    assert '/elsewhere/sa_9.jpg' in ' '.join(index.damage)
    assert len(index.files) == len(FILES) + 3


def test_archives_behind_the_end_are_read(shard: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other.tar'
    with tarfile.open(other, 'w') as archive:
        add(archive, 'more.jpg', b'more')
        add(archive, 'sa_0.jpg', b'newer')
    shard.write_bytes(shard.read_bytes() + other.read_bytes() + other.read_bytes())
    assert read_all(shard) == FILES | {'more.jpg': b'more', 'sa_0.jpg': b'newer'}
    assert index_shard(shard).damage == []
    shard.write_bytes(shard.read_bytes() + b'no archive' * 100)
    assert len(index_shard(shard).files) == len(FILES) + 1
    assert 'nothing can be read' in index_shard(shard).damage[0]


def test_holes_are_named(shard: Path) -> None:
    with tarfile.open(shard, 'a') as archive:
        add(archive, 'holes.jpg', b'x' * 600, type=tarfile.GNUTYPE_SPARSE)
    index = index_shard(shard)
    assert index.lost == ['holes.jpg']
    assert len(index.files) == len(FILES)
