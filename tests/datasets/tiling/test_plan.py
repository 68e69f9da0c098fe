import numpy as np
import pytest

from rs4d.datasets.tiling.plan import SplitOptions, Tile, TilingError, divide
from rs4d.geo.window import grid


def _tiles(scenes=2, size=4096, tile=256, overlap=32, every=1):
    windows = list(grid(size, size, tile, overlap))
    return [
        Tile(scene, window, int(number % every == 0))
        for scene in range(scenes)
        for number, window in enumerate(windows)
    ]


def _gap(one, other):
    """Pixels between two windows along the axis on which they are further apart."""
    a, b = one.bounds, other.bounds
    return max(max(a[k] - b[k + 2], b[k] - a[k + 2]) for k in (0, 1))


def test_no_training_tile_comes_near_a_validation_tile():
    tiles = _tiles(scenes=2, size=2048)
    parts = divide(tiles, SplitOptions(val=0.2, guard=100))
    assert parts['train']
    assert not set(parts['train']) & set(parts['val'])
    for a in parts['train']:
        for b in parts['val']:
            if tiles[a].scene == tiles[b].scene:
                assert _gap(tiles[a].window, tiles[b].window) >= 100


def test_the_share_is_about_what_was_asked_for():
    tiles = _tiles()
    parts = divide(tiles, SplitOptions(val=0.2, block=512, guard=0))
    assert 0.2 <= len(parts['val']) / len(tiles) < 0.23


def test_the_seed_says_which():
    tiles = _tiles(every=3)
    first = divide(tiles, SplitOptions(seed=1))
    assert first == divide(tiles, SplitOptions(seed=1))
    assert first != divide(tiles, SplitOptions(seed=2))


@pytest.mark.parametrize('share', [0, 0.25, 1])
def test_a_share_of_empty_tiles_is_kept(share):
    tiles = _tiles(scenes=1, every=2)
    kept = divide(tiles, SplitOptions(val=0, empty=share))['train']
    objects = np.array([tiles[number].objects for number in kept])
    full = sum(tile.objects for tile in tiles)
    assert objects.sum() == full
    assert (objects == 0).sum() == round(share * (len(tiles) - full))


def test_without_validation_nothing_is_held_back():
    tiles = _tiles(scenes=1)
    assert divide(tiles, SplitOptions(val=0)) == {'train': list(range(len(tiles))), 'val': []}


def test_a_scene_too_small_to_divide_says_so():
    with pytest.raises(TilingError, match=r"left for 'train': 4 tiles .*--val 0"):
        divide(_tiles(1, 900, 512, 64), SplitOptions())
    with pytest.raises(TilingError, match="left for 'train'"):
        divide([Tile(0, tile.window, 0) for tile in _tiles(1)], SplitOptions(val=0))
