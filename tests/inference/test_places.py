"""Where objects lie, in scenes that are placed in every way: kept and right, or refused by name."""

import warnings

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from inference.oracle import Oracle, write_scene
from inference.seams import outlines
from inference.test_scene import ORIGIN
from pyproj import CRS, Geod
from rasterio.control import GroundControlPoint

from rs4d.inference.inputs import InputError
from rs4d.inference.running import Options, predict_inputs

NORTH_UP = Affine(0.5, 0, 733601, 0, -0.5, 3725139)
TURNED = NORTH_UP @ Affine.rotation(30)
UTM = 'EPSG:32616'
# Lambert's equal areas around a place of nobody's.
OWN = CRS('+proj=laea +lat_0=33.6 +lon_0=-84.4 +x_0=733000 +y_0=3725000 +datum=WGS84 +units=m')
POINTS = [(0, 0), (0, 200), (160, 0), (160, 200), (70, 90)]


@pytest.fixture
def ids():
    """Objects within windows of 64 pixels and across their seams, one with a hole."""
    ids = np.ones((160, 200), np.uint16)
    ids[5:19, 8:30] = 2
    ids[40:110, 30:120] = 3
    ids[60:80, 50:90] = 1
    ids[100:140, 150:162] = 4
    ids[150:160, 190:200] = 5
    return ids


def _control_points(transform):
    return [GroundControlPoint(row, col, *(transform * (col, row))) for row, col in POINTS]


def _predict(path, out, formats=('gpkg',)):
    options = Options(out, formats, size=64, overlap=24)
    return predict_inputs(Oracle(), [str(path)], options, ORIGIN, {})


def _require_in_place(ids, layer, transform):
    truth = dict(outlines(ids))
    assert len(layer) == len(truth)
    matrix = np.array([[transform.a, transform.d], [transform.b, transform.e]])
    offset = np.array([transform.c, transform.f])
    for shape, score in zip(layer.geometry, layer['score'], strict=True):
        expected = shapely.transform(
            truth[round((1 - score) * 1e5)], lambda xy: xy @ matrix + offset
        )
        assert shape.is_valid
        assert shape.symmetric_difference(expected).area < 1e-5 * expected.area


@pytest.mark.parametrize(
    ('transform', 'crs'),
    [
        (NORTH_UP, UTM),
        (NORTH_UP, OWN.to_wkt()),
        (Affine(0.5, 0, 733601, 0, 0.5, 3724839), UTM),
        (TURNED, UTM),
        (Affine(4e-6, 0, -84.4, 0, -4e-6, 33.6), 'EPSG:4326'),
    ],
    ids=['north up', 'no code', 'south up', 'turned', 'degrees'],
)
def test_a_map_is_followed(tmp_path, ids, transform, crs):
    scene = write_scene(tmp_path / 'scene.tif', ids, transform=transform, crs=crs)
    formats = ('gpkg', 'fgb', 'parquet', 'geojson')
    files = _predict(scene, tmp_path / 'out', formats).files
    for file in files[:3]:
        read = geopandas.read_parquet if file.suffix == '.parquet' else geopandas.read_file
        layer = read(file)
        assert CRS(layer.crs).to_dict() == CRS(crs).to_dict()
        _require_in_place(ids, layer, transform)
    geod = Geod(ellps='WGS84')
    degrees = layer.to_crs('OGC:CRS84')
    for shape, area in zip(degrees.geometry, layer['area'], strict=True):
        parts = [shapely.geometry.polygon.orient(part) for part in shapely.get_parts(shape)]
        own = sum(geod.geometry_area_perimeter(part)[0] for part in parts)
        assert area == pytest.approx(own, rel=1e-3)
    world = geopandas.read_file(files[3]).sort_values('score').geometry.to_numpy()
    expected = degrees.sort_values('score').geometry.to_numpy()
    # Seven decimals are a hundredth of a metre.
    assert (shapely.hausdorff_distance(world, expected) < 2e-7).all()


def test_a_map_of_no_system_is_kept_without_one(tmp_path, ids):
    scene = write_scene(tmp_path / 'scene.tif', ids, transform=TURNED, crs=None)
    _predict(scene, tmp_path / 'out')
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg', layer='predictions')
    assert layer.crs is None
    assert layer['area'].isna().all()
    _require_in_place(ids, layer, TURNED)


def test_a_picture_lies_below_the_origin(tmp_path, ids):
    scene = write_scene(tmp_path / 'scene.tif', ids, transform=Affine.identity(), crs=None)
    _predict(scene, tmp_path / 'out')
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg', layer='predictions')
    _require_in_place(ids, layer, Affine.scale(1, -1))


def _with_points(path, ids, points):
    write_scene(path, ids, transform=Affine.identity(), crs=None)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, 'r+') as file:
            file.gcps = points, rasterio.CRS.from_epsg(32616)
    return path


def test_control_points_are_followed_or_refused(tmp_path, ids):
    points = _control_points(TURNED)
    _predict(_with_points(tmp_path / 'scene.tif', ids, points), tmp_path / 'out')
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg', layer='predictions')
    assert layer.crs == CRS(UTM)
    _require_in_place(ids, layer, TURNED)
    # One that lies ten metres, twenty pixels, off the others.
    points[-1].x += 10
    bent = _with_points(tmp_path / 'bent.tif', ids, points)
    with pytest.raises(
        InputError, match=r"bent.tif' is placed by 5 ground control points.*gdalwarp"
    ):
        _predict(bent, tmp_path / 'other')


def test_coefficients_alone_are_refused(tmp_path, ids):
    scene = write_scene(tmp_path / 'scene.tif', ids, transform=Affine.identity(), crs=None)
    unit = [0.0] * 19
    rpcs = rasterio.rpc.RPC(
        height_off=0.0,
        height_scale=1.0,
        lat_off=33.6,
        lat_scale=1.0,
        line_den_coeff=[1.0, *unit],
        line_num_coeff=[0.0, 1.0, *unit[1:]],
        line_off=80.0,
        line_scale=80.0,
        long_off=-84.4,
        long_scale=1.0,
        samp_den_coeff=[1.0, *unit],
        samp_num_coeff=[0.0, 0.0, 1.0, *unit[2:]],
        samp_off=100.0,
        samp_scale=100.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(scene, 'r+') as file:
            file.rpcs = rpcs
    with pytest.raises(InputError, match='RPC'):
        _predict(scene, tmp_path / 'out')
