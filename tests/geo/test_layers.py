import json
import sqlite3
from contextlib import closing
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyproj
import pytest
import shapely

from rs4d.geo.layers import LayerError, read_layer, write_layer

UTM = pyproj.CRS.from_epsg(32616)
SQUARES = [shapely.box(733700 + 20 * k, 3725000, 733710 + 20 * k, 3725010) for k in range(3)]


def _saved(path, geometries=SQUARES, crs=32616, layer=None, **columns):
    frame = geopandas.GeoDataFrame(columns, geometry=list(geometries), crs=crs)
    frame.to_file(path, layer=layer)
    return path


@pytest.mark.parametrize('name', ['a.gpkg', 'a.geojson', 'a.shp', 'a.fgb'])
def test_formats_give_the_same(tmp_path, name):
    path = _saved(tmp_path / name, kind=['ship', 'plane', 'ship'])
    layer = read_layer(path, class_field='kind')
    # A FlatGeobuf comes in the order of its index.
    found = sorted(zip(layer.classes, layer.geometries, strict=True), key=lambda it: it[1].bounds)
    assert [name for name, _ in found] == ['ship', 'plane', 'ship']
    assert all(a.equals(b) for (_, a), b in zip(found, SQUARES, strict=True))
    assert layer.crs.equals(UTM, ignore_axis_order=True)


def test_classes_are_text(tmp_path):
    path = _saved(tmp_path / 'a.gpkg', number=[1.0, 2.0, 1.0], part=[0.5, 1.0, 2.0])
    assert read_layer(path, class_field='number').classes == ['1', '2', '1']
    assert read_layer(path, class_field='part').classes == ['0.5', '1', '2']
    assert read_layer(path).classes == ['object'] * 3


def test_empty_classes_are_refused_or_named(tmp_path):
    path = _saved(tmp_path / 'a.gpkg', kind=['ship', None, ' '])
    with pytest.raises(
        LayerError, match=r"2 of 3 features whose 'kind' is empty \(features 2, 3\)"
    ):
        read_layer(path, class_field='kind')
    assert read_layer(path, class_field='kind', default_class='x').classes == ['ship', 'x', 'x']


def test_a_missing_field_names_those_there_are(tmp_path):
    path = _saved(tmp_path / 'a.gpkg', kind=['a', 'b', 'c'], age=[1, 2, 3])
    with pytest.raises(LayerError, match="no field 'class' in layer 'a'; it has kind, age"):
        read_layer(path, class_field='class')


def test_several_layers_ask_for_one(tmp_path):
    path = _saved(tmp_path / 'a.gpkg', layer='roofs')
    _saved(path, layer='roads')
    with pytest.raises(LayerError, match=r'2 layers: .*roofs.*--layer'):
        read_layer(path)
    with pytest.raises(LayerError, match="no layer 'x'; it has"):
        read_layer(path, 'x')
    assert read_layer(path, 'roads').name == 'roads'


@pytest.mark.filterwarnings('ignore:Non closed ring')  # one of the oddities
def test_odd_geometries_are_read(tmp_path):
    """Heights are dropped, missing geometries are None, open rings are closed, nothing is nothing."""
    high = shapely.force_3d(SQUARES[0], 7.0)
    path = _saved(tmp_path / 'a.gpkg', [high, None, shapely.Point(733700, 3725000)])
    found = read_layer(path).geometries
    assert not found[0].has_z
    assert found[1] is None
    assert found[2].geom_type == 'Point'
    ring = [[0, 0], [1, 0], [1, 1]]
    feature = dict(type='Feature', properties={}, geometry=dict(type='Polygon', coordinates=[ring]))
    (tmp_path / 'open.geojson').write_text(
        json.dumps(dict(type='FeatureCollection', features=[feature]))
    )
    assert read_layer(tmp_path / 'open.geojson').geometries[0].area == 0.5
    empty = _saved(tmp_path / 'empty.gpkg', [])
    assert read_layer(empty).bounds is None


@pytest.mark.parametrize(
    ('name', 'content', 'words'),
    [
        ('absent.gpkg', None, 'is not there'),
        ('zero.gpkg', b'', '0 bytes'),
        ('text.gpkg', b'not a layer', 'cannot be read as a layer'),
        ('cut.geojson', b'{"type": "FeatureCollection", "fea', 'cannot be read as a layer'),
    ],
)
def test_what_is_no_layer_is_one_sentence(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LayerError, match=words):
        read_layer(path)


def test_metres_declared_as_degrees_are_refused(data_root):
    path = data_root('GEO') / 'custom_crs_labels.geojson'
    with pytest.raises(LayerError, match=r'declares .*degrees, and holds x -663347.*--labels-crs'):
        read_layer(path)
    assert len(read_layer(path, crs_override='EPSG:5070').geometries) == 19
    with pytest.raises(LayerError, match='no coordinate system that PROJ knows'):
        read_layer(path, crs_override='EPSG:nothing')


def test_degrees_declared_as_metres_are_refused(tmp_path):
    path = _saved(tmp_path / 'a.gpkg', [shapely.box(-84.5, 33.6, -84.4, 33.7)])
    with pytest.raises(LayerError, match='look like degrees'):
        read_layer(path)


@pytest.mark.parametrize('name', ['a.gpkg', 'a.fgb', 'a.parquet'])
def test_what_was_written_is_read_by_geopandas(tmp_path, name):
    holed = SQUARES[0].difference(SQUARES[0].buffer(-2))
    both = shapely.MultiPolygon(SQUARES[1:])
    attributes = {'class': ['ship', 'plane'], 'score': np.array([0.5, 0.25]), 'area': [None, 2.5]}
    write_layer(tmp_path / name, [holed, both], attributes, UTM)
    read = geopandas.read_parquet if name.endswith('parquet') else geopandas.read_file
    frame = read(tmp_path / name).sort_values('score', ascending=False).reset_index()
    assert frame.geometry[0].equals(holed)
    assert frame.geometry[1].equals(both)
    assert frame['class'].tolist() == ['ship', 'plane']
    assert frame['score'].tolist() == [0.5, 0.25]
    assert np.isnan(frame['area'][0])
    assert frame['area'][1] == 2.5
    assert frame.crs.equals(UTM, ignore_axis_order=True)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('name', ['a.gpkg', 'a.fgb', 'a.parquet', 'a.geojson'])
def test_a_layer_of_nothing_is_written(tmp_path, name):
    write_layer(tmp_path / name, [], {'class': []}, UTM)
    assert (tmp_path / name).stat().st_size


def test_geojson_is_as_rfc_7946_asks(tmp_path):
    clockwise = shapely.geometry.polygon.orient(SQUARES[0], -1)
    write_layer(tmp_path / 'a.geojson', [clockwise], {'class': ['ship']}, UTM)
    content = json.loads((tmp_path / 'a.geojson').read_text())
    assert 'crs' not in content
    polygon = shapely.geometry.shape(content['features'][0]['geometry'])
    assert polygon.exterior.is_ccw
    into = pyproj.Transformer.from_crs(UTM, 'EPSG:4326', always_xy=True)
    expected = shapely.transform(SQUARES[0], lambda xy: np.stack(into.transform(*xy.T), axis=1))
    assert polygon.hausdorff_distance(expected) < 1e-7
    numbers = np.array(polygon.exterior.coords)
    assert np.allclose(numbers, numbers.round(7), atol=1e-12)
    with pytest.raises(LayerError, match='coordinate system'):
        write_layer(tmp_path / 'b.geojson', SQUARES, {}, None)


def test_a_system_without_a_code_and_none_survive(tmp_path):
    albers = pyproj.CRS.from_proj4(
        '+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +datum=WGS84'
    )
    write_layer(tmp_path / 'a.gpkg', SQUARES, {}, albers)
    found = read_layer(tmp_path / 'a.gpkg').crs
    assert found.to_dict() == albers.to_dict()
    write_layer(tmp_path / 'b.gpkg', SQUARES, {}, None)
    assert len(read_layer(tmp_path / 'b.gpkg').geometries) == 3


def test_a_failed_write_leaves_what_was_there(tmp_path):
    (tmp_path / 'a.gpkg').write_text('before')
    with pytest.raises(Exception, match='length'):
        write_layer(tmp_path / 'a.gpkg', SQUARES, {'class': ['one']}, UTM)
    assert (tmp_path / 'a.gpkg').read_text() == 'before'
    assert [file.name for file in tmp_path.iterdir()] == ['a.gpkg']
    with pytest.raises(LayerError, match=r'ends in \.gpkg'):
        write_layer(tmp_path / 'a.kml', SQUARES, {}, UTM)


def test_a_geopackage_has_colours_by_class(tmp_path):
    names = ['ship', 'harbour & <quay>']
    path = tmp_path / 'a.gpkg'
    write_layer(path, SQUARES[:2], {'class': names}, UTM, styled_classes=names)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            'SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles'
        ).fetchall()
        assert database.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    assert [row[:3] for row in rows] == [('a', 'geom', 1)]
    renderer = ElementTree.fromstring(rows[0][3].split('>', 1)[1]).find('renderer-v2')
    assert renderer.get('attr') == 'class'
    found = renderer.findall('categories/category')
    assert [item.get('value') for item in found] == names
    symbols = {item.get('name'): item for item in renderer.findall('symbols/symbol')}
    colours = {
        symbols[item.get('symbol')].find("layer/Option/Option[@name='color']").get('value')
        for item in found
    }
    assert len(colours) == 2
    # It stays one layer to read, and one style when it is written again.
    assert read_layer(path, class_field='class').classes == names
