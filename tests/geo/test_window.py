import numpy as np
import pytest

from rs4d.geo.window import Window, grid, starts


def test_starts_end_at_the_edge():
    assert starts(1000, 512, 64) == [0, 448, 488]
    assert starts(512, 512) == [0]
    assert starts(300, 512) == [0]
    assert starts(1024, 512) == [0, 512]


@pytest.mark.parametrize(('size', 'overlap'), [(0, 0), (8, 8), (8, -1)])
def test_starts_refuse_what_does_not_advance(size, overlap):
    with pytest.raises(ValueError, match='size > overlap'):
        starts(100, size, overlap)


def test_a_grid_covers_every_pixel_with_windows_of_one_size():
    covered = np.zeros((70, 45), int)
    for window in grid(70, 45, 32, 8):
        assert (window.height, window.width) == (32, 32)
        x0, y0, x1, y1 = window.bounds
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1


def test_a_point_on_an_edge_lies_in_one_window():
    windows = [Window(0, 0, 10, 10), Window(0, 10, 10, 10), Window(10, 0, 10, 10)]
    for x, y in [(10, 3), (3, 10), (9.999, 9.999), (0, 0)]:
        assert sum(window.contains(x, y) for window in windows) == 1


def test_clipped_stays_in_the_raster():
    assert Window(-5, 90, 20, 20).clipped(100, 100) == Window(0, 90, 15, 10)
    assert Window(0, 0, 8, 8).grown(4).clipped(10, 10) == Window(0, 0, 10, 10)
    empty = Window(200, 200, 5, 5).clipped(100, 100)
    assert (empty.height, empty.width) == (0, 0)
