"""Lists of images in columns hold what lists of dicts would, in the order that their keys give."""

import gzip
import hashlib
import os
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs4d.datasets import DatasetNotFoundError, image_listing
from rs4d.datasets.image_listing import list_images
from rs4d.datasets.image_table import ImageTable, Place, joined_table, sorted_table

NAMES = ['a.jpg', 'b/a.jpg', 'b/c.jpg', 'b-a.jpg', 'ä.jpg', 'z.jpg', 'sa_10.jpg', 'sa_9.jpg']


def random_groups(rng: random.Random, root: str) -> list[ImageTable]:
    """Folders first, then tars, as a listing has them."""
    groups = []
    for archive in (None, None, f'{root}/x.tar', f'{root}/y.tar'):
        prefix = rng.choice(['', 'b/', 'b-/', 'c/'])
        names = rng.sample(NAMES, rng.randint(1, len(NAMES)))
        if archive is None:
            if any(g.places[0][1:] == (prefix, None) for g in groups):
                continue  # a folder is met once
            names = [name for name in names if '/' not in name] or ['only.jpg']
            groups.append(ImageTable.of(Place(f'{root}/{prefix}', prefix), names))
        else:
            offsets = [rng.randint(0, 99) for _ in names]
            sizes = [len(name) for name in names]
            groups.append(
                ImageTable.of(Place(f'{archive}/', prefix, archive), names, offsets, sizes)
            )
    return groups


def as_dicts(groups: Sequence[ImageTable]) -> list[dict[str, Any]]:
    """The images of groups sorted by key, the first of each."""
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        for image in group:
            found.setdefault(image['img_key'], image)
    return [found[key] for key in sorted(found)]


@pytest.mark.parametrize('seed', range(20))
def test_tables_of_one_and_of_several_roots(seed: int) -> None:
    rng = random.Random(seed)
    roots = [random_groups(rng, f'root{i}') for i in range(3)]
    tables = [sorted_table(groups) for groups in roots]
    lists = [as_dicts(groups) for groups in roots]
    assert [list(table) for table in tables] == lists
    expected: dict[str, dict[str, Any]] = {}
    for number, images in enumerate(lists):
        for image in images:
            key = image['img_key']
            known = expected.get(key)
            if known is not None and 'shard' in image:
                continue
            if known is not None and 'shard' not in known:
                key = f'{number}:{key}'
                image = dict(image, img_key=key)
            expected[key] = image
    joined = joined_table(tables)
    assert list(joined) == list(expected.values())
    assert [key.decode() for key in joined.keys.tolist()] == [x['img_key'] for x in joined]
    assert joined[-1] == list(joined)[-1]


def test_order_by_hash_is_that_of_the_whole_digests() -> None:
    table = sorted_table([ImageTable.of(Place('r/', 'ü/'), [f'{i}.jpg' for i in range(500)])])
    for seed in (0, 7):
        digests = [hashlib.sha1(f'{seed}/{x["img_key"]}'.encode()).digest() for x in table]
        assert table.shuffled(seed).tolist() == sorted(range(500), key=digests.__getitem__)


def test_an_image_costs_tens_of_bytes() -> None:
    names = [f'sa_{i}.jpg' for i in range(100_000)]
    numbers = range(100_000)
    place = Place('t/', 'sa_000000/', 't.tar')
    table = sorted_table([ImageTable.of(place, names, numbers, numbers)])
    assert all(isinstance(array, np.ndarray) for array in table.columns)
    assert sum(array.nbytes for array in table.columns) <= 46 * len(table)


@pytest.fixture
def tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    root = tmp_path / 'data'
    root.mkdir()
    for i in range(4):
        with tarfile.open(root / f'sa_{i:06d}.tar', 'w') as archive:
            for name in (f'./sa_{i}.jpg', f'./sa_{i}.json', f'sa_{i:06d}/sa_{i}0.jpg'):
                archive.addfile(tarfile.TarInfo(name))
    return root


def test_archives_that_repeat_their_name(tars: Path) -> None:
    found = {
        x['img_key']: os.path.relpath(x['img_path'], tars) for x in list_images(tars, ['.jpg'])
    }
    assert len(found) == 8
    assert found['sa_000001/sa_1.jpg'] == 'sa_000001.tar/sa_1.jpg'
    assert found['sa_000001/sa_10.jpg'] == 'sa_000001.tar/sa_000001/sa_10.jpg'


@pytest.mark.parametrize('rank', range(3))
def test_ranks_begin_at_different_tars(
    tars: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    order: list[str] = []
    index_shard = image_listing.index_shard

    def watched(path: str) -> Any:
        order.append(Path(path).stem[-1])
        return index_shard(path)

    expected = list(list_images(tars, ['.jpg']))
    image_listing._tar_content.cache_clear()
    monkeypatch.setattr(image_listing, 'index_shard', watched)
    monkeypatch.setattr(image_listing, 'get_rank', lambda: rank)
    monkeypatch.setattr(image_listing, 'get_world_size', lambda: 3)
    table = list_images(tars, ['.jpg'])
    assert list(table) == expected
    assert ''.join(order) == ['0123', '1230', '2301'][rank]
    assert isinstance(table, ImageTable)
    assert list_images(tars, ['.jpg']) is table  # neither read nor sorted again
    assert len(order) == 4


def test_long_indexing_is_reported(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(image_listing, 'print_log', lambda text, **_: lines.append(text))
    list_images(tars, ['.jpg'])
    assert lines == []
    monkeypatch.setattr(image_listing, '_PROGRESS_SECONDS', 0)
    list_images(tars, ['.jpg'])
    assert [line.split(' tars')[0] for line in lines] == ['1 of 4', '2 of 4', '3 of 4']


def test_files_of_systems_and_tools_are_no_images(tars: Path) -> None:
    expected = list(list_images(tars, ['.jpg']))
    names = [
        '._a.jpg',
        '.hidden/a.jpg',
        '__MACOSX/a.jpg',
        '.ipynb_checkpoints/a.jpg',
        '@eaDir/a.jpg',
    ]
    for name in [*names, 'sub/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg', 'sub/._b.tar']:
        (tars / name).parent.mkdir(parents=True, exist_ok=True)
        (tars / name).write_bytes(b'no image')
    with tarfile.open(tars / 'sa_000000.tar', 'a') as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f'./{name}'))
    losses = image_listing.Losses()
    assert [x['img_key'] for x in list_images(tars, ['.jpg'], losses=losses)] == [
        x['img_key'] for x in expected
    ]
    assert losses == image_listing.Losses()
    # The root itself may be anywhere.
    hidden = tars / '.hidden'
    assert [x['img_key'] for x in list_images(hidden, ['.jpg'])] == ['a.jpg']


def test_links_between_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/1.jpg').touch()
    (tmp_path / 'a/back').symlink_to(tmp_path)
    (tmp_path / 'b').symlink_to(tmp_path / 'a')
    assert [x['img_key'] for x in list_images(tmp_path, ['.jpg'])] == ['a/1.jpg']


def test_compressed_archives_are_named(tars: Path) -> None:
    plain = (tars / 'sa_000003.tar').read_bytes()
    (tars / 'sa_000003.tar').write_bytes(gzip.compress(plain))
    (tars / 'sa_000004.tar.gz').write_bytes(gzip.compress(plain))
    losses = image_listing.Losses()
    assert len(list_images(tars, ['.jpg'], losses=losses)) == 6
    assert [Path(x).name for x in losses.compressed] == ['sa_000003.tar', 'sa_000004.tar.gz']
    (finding,) = losses.findings('train')
    assert (finding.check, finding.count, finding.fatal) == ('compressed archives', 2, False)
    with pytest.raises(DatasetNotFoundError, match='compressed'):
        list_images(tars, ['.jpg'], ['sa_000003', 'sa_000004'])


def test_tars_that_cannot_be_opened_are_named(tars: Path) -> None:
    (tars / 'x.tar').symlink_to(tars / 'gone.tar')
    losses = image_listing.Losses()
    assert len(list_images(tars, ['.jpg'], losses=losses)) == 8
    assert 'x.tar: it cannot be read' in losses.damaged[0]
