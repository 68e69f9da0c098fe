"""Annotation files are divided without an image on two sides, and with every class on each."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rs4d.cli import main
from rs4d.datasets.image_copies import content_keys, groups_of_copies
from rs4d.datasets.splitting import Division, split_annotations
from rs4d.datasets.stratifying import balance, stratify

SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]


def coco(labels: Sequence[Sequence[int]], **entries: Any) -> dict[str, Any]:
    """A set whose n-th image has instances of these classes; ``entries`` by image number."""
    images = [
        dict(id=10 * n, file_name=f'{n}.png', width=16, height=16) | entries.get(f'_{n}', {})
        for n in range(len(labels))
    ]
    pairs = [(n, label) for n, found in enumerate(labels) for label in found]
    annotations = [
        dict(
            id=k,
            image_id=10 * n,
            category_id=7 * label + 3,
            bbox=[2, 2, 10, 10],
            area=100,
            iscrowd=0,
            segmentation=[SQUARE],
        )
        for k, (n, label) in enumerate(pairs)
    ]
    categories = [dict(id=7 * label + 3, name=f'class {label}') for label in (2, 0, 1)]
    return dict(images=images, annotations=annotations, categories=categories, info=dict(a=1))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a set with an image of its own brightness for each entry."""

    def write(content: dict[str, Any], images: bool = True) -> Path:
        (tmp_path / 'imgs').mkdir(exist_ok=True)
        for number, entry in enumerate(content['images']) if images else ():
            picture = np.full((16, 16, 3), number, np.uint8)
            cv2.imwrite(str(tmp_path / 'imgs' / entry['file_name']), picture)
        (tmp_path / 'all.json').write_text(json.dumps(content))
        return tmp_path / 'all.json'

    return write


def sides(folder: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in folder.glob('*.json')}


def names(content: dict[str, Any]) -> set[str]:
    return {entry['file_name'] for entry in content['images']}


def test_groups_are_those_of_a_graph() -> None:
    assert groups_of_copies([['a'], ['b'], ['a', 'c'], ['d'], ['c', 'b']]) == [[0, 1, 2, 4], [3]]
    assert groups_of_copies([]) == []


def test_copies_by_bytes_and_by_pixels(tmp_path: Path) -> None:
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    for name, flags in (('a.png', [16, 0]), ('b.png', [16, 9]), ('c.bmp', [])):
        cv2.imwrite(str(tmp_path / name), picture, flags)
    cv2.imwrite(str(tmp_path / 'd.png'), picture[::-1])
    (tmp_path / 'e.png').write_bytes((tmp_path / 'd.png').read_bytes())
    (tmp_path / 'f.png').write_bytes(b'no image')
    assert (tmp_path / 'a.png').read_bytes() != (tmp_path / 'b.png').read_bytes()
    keys = content_keys([tmp_path / f'{n}' for n in sorted(p.name for p in tmp_path.iterdir())])
    assert groups_of_copies(keys) == [[0, 1, 2], [3, 4], [5]]


def scene(seed: int, side: int = 256) -> np.ndarray:
    """A picture of clouds, with ships in it and light that falls off to the edges."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0, 1, (12, 12)).astype(np.float32)
    picture = 90 + 25 * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    for x, y in generator.integers(0, side - 20, (6, 2)):
        picture[y : y + 8, x : x + 20] = 250
    across = np.linspace(-1, 1, side)
    picture = (picture + generator.normal(0, 12, picture.shape)) * (1.2 - across**2 * 0.8)
    return np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_copies_by_looks(tmp_path: Path) -> None:
    whole = scene(0)
    half = cv2.resize(whole, (128, 128), interpolation=cv2.INTER_AREA)
    retouched = whole.copy()
    retouched[100:108, 30:50] = 0
    flat = np.full_like(whole, 100) + np.random.default_rng(9).integers(0, 3, whole.shape, np.uint8)
    wide = cv2.resize(whole, (300, 256))
    pictures = dict(
        **{'0.png': whole, '1.png': half, '2.jpg': half, '3.jpg': whole, '4.png': retouched},
        **{'5.png': (whole * 0.7).astype(np.uint8), '6.png': cv2.resize(whole, (400, 400))},
        # None of these shows what another does.
        **{f'7{seed}.png': scene(seed) for seed in range(1, 9)},
        **{'80.png': whole[::-1], '81.png': wide, '82.png': flat, '83.png': flat.T.copy().T + 1},
    )
    # A neighbour that shows half the ground.
    large = scene(20, 384)
    pictures |= {'90.png': large[:256, :256], '91.png': large[:256, 128:]}
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
    keys = content_keys([tmp_path / name for name in pictures])
    groups = groups_of_copies(keys)
    assert groups[0] == list(range(7))
    assert [len(group) for group in groups[1:]] == [1] * (len(pictures) - 7)


@pytest.mark.parametrize('seed', range(5))
def test_every_class_has_its_share(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = (generator.random((400, 4)) < [0.9, 0.3, 0.05, 0.01]) * generator.integers(
        1, 5, (400, 4)
    )
    labels[:2, 3] = 1  # in two images at least
    groups = groups_of_copies([[n // 2 if n < 40 else n] for n in range(400)])
    shares = [0.7, 0.2, 0.1]
    side = stratify(groups, labels, shares, seed)
    assert all(len(set(side[group])) == 1 for group in groups)
    sizes = np.bincount(side, minlength=3) / 400
    assert np.abs(sizes - shares).max() < 0.03
    for label in range(4):
        parts = np.array([labels[side == k, label].sum() for k in range(3)])
        having = sum(labels[group, label].any() for group in groups)
        assert (parts > 0).sum() == min(3, having)
        if labels[:, label].sum() > 100:
            assert np.abs(parts / parts.sum() - shares).max() < 0.04
    # Chance alone is less even.
    chance = generator.permutation(side)
    assert balance(labels, side, shares) < balance(labels, chance, shares)
    assert (stratify(groups, labels, shares, seed) == side).all()


def test_a_set_is_divided_without_its_copies(tmp_path: Path, saved: Callable[..., Path]) -> None:
    labels = [[0]] * 12 + [[0, 1], [1], [2], []]
    content = coco(labels)
    file = saved(content)
    for copy, original in ((3, 2), (9, 8)):
        source = tmp_path / 'imgs' / f'{original}.png'
        (tmp_path / 'imgs' / f'{copy}.png').write_bytes(source.read_bytes())
    assert main('split', file, '--out', tmp_path / 'out', '--val', 0.25, '--seed', 1) == 0
    parts = sides(tmp_path / 'out')
    assert parts.keys() == {'train', 'val'}
    assert names(parts['train']) | names(parts['val']) == {f'{n}.png' for n in range(16)}
    assert not names(parts['train']) & names(parts['val'])
    assert 3 <= len(names(parts['val'])) <= 5
    for a, b in (('2.png', '3.png'), ('8.png', '9.png')):
        assert (a in names(parts['val'])) == (b in names(parts['val']))
    for part in parts.values():
        assert part['categories'] == content['categories']
        assert part['info'] == dict(a=1)
        ids = {entry['id'] for entry in part['images']}
        expected = [entry for entry in content['annotations'] if entry['image_id'] in ids]
        assert part['annotations'] == expected
        # The class that two images have is on both sides, that of one is for training.
        assert any(entry['category_id'] == 10 for entry in part['annotations'])
    assert any(entry['category_id'] == 17 for entry in parts['train']['annotations'])


def test_the_same_seed_gives_the_same_sides(tmp_path: Path, saved: Callable[..., Path]) -> None:
    file = saved(coco([[0]] * 20), images=False)
    found = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(number)
        words = ('--no-images', '--test', 0.2, '--by', 'random', '--seed', seed)
        assert main('split', file, '--out', out, *words) == 0
        found.append({side: names(part) for side, part in sides(out).items()})
    assert found[0] == found[1] != found[2]
    assert {side: len(part) for side, part in found[0].items()} == dict(train=12, val=4, test=4)


def test_tiles_are_divided_by_blocks(tmp_path: Path, saved: Callable[..., Path]) -> None:
    windows = [[row, col, 16, 16] for row in range(0, 150, 15) for col in range(0, 150, 15)]
    places = {f'_{n}': dict(scene='a', window=window) for n, window in enumerate(windows)}
    labels = [[0]] * 98 + [[1], [1]]
    file = saved(coco(labels, **places))
    done = split_annotations(file, tmp_path / 'out', None, Division(test=0.1, seed=3))
    assert done.by == 'blocks'
    parts = sides(tmp_path / 'out')
    assert sum(done.images.values()) + done.left_out == 100
    assert 0.15 <= done.images['val'] / 100 <= 0.35
    grounds = {
        side: {(r, c) for e in part['images'] for r, c in ground(e['window'])}
        for side, part in parts.items()
    }
    assert not grounds['train'] & grounds['val']
    assert not grounds['train'] & grounds['test']
    assert not grounds['val'] & grounds['test']


def ground(window: Sequence[int]) -> list[tuple[int, int]]:
    row, col, height, width = window
    return [(r, c) for r in range(row, row + height) for c in range(col, col + width)]


def test_rasters_are_divided_by_their_georeference(tmp_path: Path) -> None:
    rasterio = pytest.importorskip('rasterio')
    affine = pytest.importorskip('affine')
    content = coco([[0]] * 36)
    for n, entry in enumerate(content['images']):
        entry['file_name'] = f'{n}.tif'
        place = affine.Affine(0.5, 0, 7e5 + 8 * (n % 6), 0, -0.5, 3.7e6 - 8 * (n // 6))
        settings = dict(driver='GTiff', height=16, width=16, count=5, dtype='uint16')
        settings |= dict(transform=place, crs='EPSG:32616')
        with rasterio.open(tmp_path / f'{n}.tif', 'w', **settings) as file:
            file.write(np.full((5, 16, 16), n, np.uint16))
    (tmp_path / 'all.json').write_text(json.dumps(content))
    words = ('split', tmp_path / 'all.json', '--out', tmp_path / 'out', '--block', 32)
    assert main(*words) == 0
    val = {int(name[:-4]) for name in names(sides(tmp_path / 'out')['val'])}
    assert sum(map(len, (names(part) for part in sides(tmp_path / 'out').values()))) == 36
    # Blocks of two by two.
    for n in val:
        corner = n - n % 2 - n // 6 % 2 * 6
        assert {corner, corner + 1, corner + 6, corner + 7} <= val


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--by', 'blocks', '--no-images'], 'no known place'),
        (['--val', '0.7', '--test', '0.4', '--no-images'], 'shares between 0 and 1'),
        (['--val', '0', '--no-images'], 'at least one of them above 0'),
        (['--images', 'nowhere'], 'is no folder'),
        ([], "The image '0.png', the first of"),
        (['--no-images', '--guard', '-1'], '--guard at least 0'),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_sentence(
    words: list[str], said: str, saved: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    file = saved(coco([[0]] * 4), images=False)
    assert main('split', file, '--out', tmp_path / 'out', *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert 'Traceback' not in error
    assert not (tmp_path / 'out').exists()


def test_nothing_is_overwritten(saved: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    file = saved(coco([[0]] * 4), images=False)
    words = ('split', file, '--out', tmp_path / 'out', '--no-images')
    assert main(*words) == 0
    assert main(*words) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert main(*words, '--overwrite') == 0


@pytest.mark.parametrize(
    'change', [dict(images=[]), dict(categories=[]), dict(images=[dict(id=0, file_name='a')] * 3)]
)
def test_a_file_that_cannot_be_divided(
    change: dict[str, Any], saved: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    file = saved(coco([[0]] * 4) | change, images=False)
    assert main('split', file, '--out', tmp_path / 'out', '--no-images') == 2
    assert 'cannot be divided' in capsys.readouterr().err
