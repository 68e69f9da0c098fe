"""Files of results, read back by other libraries; inputs by name."""

import sqlite3

import geopandas
import numpy as np
import pytest
import shapely
from inference.oracle import PLACE, Oracle, write_scene
from inference.test_scene import ORIGIN, _objects
from pycocotools import mask as coco_mask
from pyproj import CRS, Geod

from rs4d.geo.outlines import mask_to_polygon
from rs4d.inference.inputs import InputError, find_inputs
from rs4d.inference.outputs import polygon_rle, scene_names, simplified
from rs4d.inference.running import Options, predict_inputs


def test_layers_read_back(tmp_path):
    ids = _objects(np.random.default_rng(0))
    path = write_scene(tmp_path / 'scene.tif', ids)
    formats = ('gpkg', 'fgb', 'parquet', 'geojson', 'overlay')
    options = Options(tmp_path / 'out', formats, 64, 24)
    outcome = predict_inputs(Oracle(), [str(path)], options, ORIGIN, {})
    assert all(file.is_file() for file in outcome.files)
    layers = [geopandas.read_file(file) for file in outcome.files[:2]]
    layers += [geopandas.read_parquet(outcome.files[2])]
    # FlatGeobuf has an order of its own.
    layers = [layer.sort_values('score') for layer in layers]
    for layer in layers:
        assert layer.crs == CRS(32616)
        assert len(layer) == outcome.objects
        assert set(layer['class']) == {'house', 'pool'}
        assert set(layer['scene']) == {'scene.tif'}
        assert set(layer['model']) == {'model.pth'}
        assert shapely.equals(layer.geometry.values, layers[0].geometry.values).all()
    world = geopandas.read_file(outcome.files[3])
    assert world.crs == CRS('OGC:CRS84') or world.crs == CRS(4326)
    shapes = world.sort_values('score').geometry
    areas = [abs(Geod(ellps='WGS84').geometry_area_perimeter(shape)[0]) for shape in shapes]
    assert np.allclose(areas, layers[0]['area'], rtol=1e-2)
    with sqlite3.connect(outcome.files[0]) as database:
        (style,) = database.execute('SELECT styleQML FROM layer_styles').fetchone()
    assert 'pool' in style


def test_run_lengths_without_the_whole_mask():
    rng = np.random.default_rng(0)
    for _ in range(30):
        mask = rng.random((17, 23)) < rng.random()
        mask[:, : rng.integers(0, 20)] = rng.random() < 0.5
        if mask.any():
            mine = polygon_rle(mask_to_polygon(mask), 17, 23)
            theirs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            assert mine == dict(size=[17, 23], counts=theirs['counts'].decode())


def test_simplify_keeps_outlines_near_and_valid():
    y, x = np.mgrid[:60, :60]
    ring = (np.hypot(x - 30, y - 30) < 28) & (np.hypot(x - 30, y - 30) > 12)
    exact = mask_to_polygon(ring)
    simple = simplified(exact, 1.0)
    assert simple.is_valid
    assert shapely.get_num_coordinates(simple) < shapely.get_num_coordinates(exact) / 3
    assert simple.hausdorff_distance(exact) <= 1.0
    assert len(simple.geoms[0].interiors) == 1
    assert simplified(exact, 0) is exact


def test_scenes_of_two_systems(tmp_path):
    ids = np.ones((70, 70), np.uint16)
    ids[5:9, 5:9] = 3
    paths = [
        str(write_scene(tmp_path / f'{code}.tif', ids, crs=f'EPSG:{code}', transform=PLACE))
        for code in (32616, 32617)
    ]
    options = Options(tmp_path / 'out', size=64, overlap=16)
    outcome = predict_inputs(Oracle(), paths, options, ORIGIN, {})
    assert [file.name for file in outcome.files] == [
        'predictions_EPSG_32616.gpkg',
        'predictions_EPSG_32617.gpkg',
    ]
    assert geopandas.read_file(outcome.files[1]).crs == CRS(32617)


def test_inputs_by_name(tmp_path):
    for name in ('a.tif', 'b.png', 'sub/c.jpg', 'notes.md'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'list.txt').write_text('# mine\nsub/c.jpg\nhttps://x.org/y.tif\n\n')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty.txt').write_text('\n')
    a, b, c = (str(tmp_path / name) for name in ('a.tif', 'b.png', 'sub/c.jpg'))
    assert find_inputs([str(tmp_path)]) == [a, b, c]
    assert find_inputs([str(tmp_path / '*.tif'), a, b]) == [a, b]
    assert find_inputs([str(tmp_path / 'list.txt')]) == [c, 'https://x.org/y.tif']
    assert find_inputs(['/vsicurl/https://x/z.tif', 'absent.tif']) == [
        '/vsicurl/https://x/z.tif',
        'absent.tif',
    ]
    for bad in ('empty', 'empty.txt', '*.jp2'):
        with pytest.raises(InputError):
            find_inputs([str(tmp_path / bad)])


def test_scenes_of_one_name_are_told_apart(tmp_path):
    ids = np.ones((70, 70), np.uint16)
    ids[5:9, 5:9] = 3
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
    paths = [tmp_path / 'a' / 's.tif', tmp_path / 'b' / 's.tif', tmp_path / 'b' / 't.tif']
    for path in paths:
        write_scene(path, ids)
    # One of them named twice.
    words = [*map(str, paths), str(tmp_path / 'a' / '..' / 'b' / 't.tif')]
    options = Options(tmp_path / 'out', size=64, overlap=16)
    predict_inputs(Oracle(), find_inputs(words), options, ORIGIN, {})
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg')
    assert layer['scene'].tolist() == ['a/s.tif', 'b/s.tif', 't.tif']


def test_names_of_scenes():
    for paths, names in (
        (['/x/a.tif', '/x/b.tif'], ['a.tif', 'b.tif']),
        (['/x/1/a.tif', '/y/1/a.tif', '/y/2/a.tif'], ['x/1/a.tif', 'y/1/a.tif', '2/a.tif']),
        (['/a.tif', '/x/a.tif'], ['/a.tif', 'x/a.tif']),
        (['https://s/a.tif', 'https://s/a.tif'], ['a.tif', 'a.tif (2)']),
    ):
        assert scene_names(paths) == names
