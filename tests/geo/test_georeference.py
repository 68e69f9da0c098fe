import warnings

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from rs4d.geo.georeference import Georeference, GeoreferenceError
from rs4d.geo.window import Window

NORTH_UP = Affine(0.5, 0, 733601, 0, -0.5, 3725139)
SOUTH_UP = Affine(0.5, 0, 733601, 0, 0.5, 3724689)
ROTATED = Affine(0.4, 0.3, 733601, 0.3, -0.4, 3725139)


def _written(path, **profile):
    settings = dict(driver='GTiff', width=30, height=20, count=1, dtype='uint8') | profile
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, 'w', **settings) as file:
            file.write(np.zeros((1, 20, 30), np.uint8))
    return path


def _read(path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return Georeference.from_dataset(file)


@pytest.mark.parametrize('transform', [NORTH_UP, SOUTH_UP, ROTATED])
def test_pixels_go_to_the_map_and_back(tmp_path, transform):
    path = _written(tmp_path / 'a.tif', transform=transform, crs='EPSG:32616')
    found = _read(path)
    assert found.crs.to_epsg() == 32616
    square = shapely.box(3, 4, 10, 12)
    there = found.to_map(square)
    with rasterio.open(path) as file:
        corners = [file.xy(row, col, offset='ul') for col, row in square.exterior.coords]
    assert np.allclose(there.exterior.coords, corners)
    assert shapely.equals_exact(found.to_pixel(there), square, 1e-6)
    many = found.to_pixel(found.to_map(np.array([square, shapely.box(0, 0, 1, 1)])))
    assert shapely.equals_exact(many[0], square, 1e-6)


def test_a_window_lies_where_rasterio_says(tmp_path):
    path = _written(tmp_path / 'a.tif', transform=ROTATED, crs='EPSG:32616')
    with rasterio.open(path) as file:
        expected = file.window_transform(rasterio.windows.Window(7, 3, 5, 5))
    found = _read(path)
    assert found.window_transform(Window(3, 7, 5, 5)).almost_equals(expected)
    assert found.window(Window(3, 7, 5, 5)).crs == found.crs


def test_a_system_without_a_code_is_kept(data_root):
    with rasterio.open(data_root('GEO') / 'custom_crs.tif') as file:
        found = Georeference.from_dataset(file)
        assert found.crs.to_epsg() is None
        assert rasterio.crs.CRS.from_user_input(found.crs.to_wkt()) == file.crs
        assert found.transform == file.transform


def test_a_picture_has_none(tmp_path):
    assert _read(_written(tmp_path / 'a.tif')) is None


def test_a_transform_without_a_system_is_used(tmp_path):
    found = _read(_written(tmp_path / 'a.tif', transform=NORTH_UP))
    assert found == Georeference(NORTH_UP, None)


def _gcps(bend=0.0):
    corners = [(0, 0), (0, 30), (20, 0), (20, 30), (10, 15)]
    a, b, c, d, e, f = ROTATED[:6]
    places = [(a * col + b * row + c, d * col + e * row + f) for row, col in corners]
    places[-1] = (places[-1][0] + bend, places[-1][1])
    pairs = zip(corners, places, strict=True)
    return [GroundControlPoint(row, col, x, y) for (row, col), (x, y) in pairs]


def test_control_points_of_an_affine_map_are_followed(tmp_path):
    found = _read(_written(tmp_path / 'a.tif', gcps=_gcps(), crs='EPSG:32616'))
    assert np.allclose(tuple(found.transform), tuple(ROTATED), atol=1e-6)
    assert found.crs.to_epsg() == 32616


def test_other_control_points_are_refused_by_name(tmp_path):
    with pytest.raises(GeoreferenceError, match=r"a\.tif' .*5 ground control points .*pixels off"):
        _read(_written(tmp_path / 'a.tif', gcps=_gcps(5.0), crs='EPSG:32616'))
    line = [GroundControlPoint(k, k, k, k) for k in range(4)]
    with pytest.raises(GeoreferenceError, match='do not span'):
        _read(_written(tmp_path / 'b.tif', gcps=line, crs='EPSG:32616'))


def test_rpc_alone_are_refused_by_name(tmp_path):
    coefficients = RPC(0, 1, 0, 1, [1.0] * 20, [1.0] * 20, 0, 1, 0, 1, [1.0] * 20, [1.0] * 20, 0, 1)
    path = _written(tmp_path / 'a.tif', rpcs=coefficients)
    with pytest.raises(GeoreferenceError, match=r"a\.tif' .*\(RPC\)"):
        _read(path)
