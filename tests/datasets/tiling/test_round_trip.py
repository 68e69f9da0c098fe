"""Layers through tiles and back, on real buildings and rasters placed in every way."""

import json
import warnings

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine

from rs4d.datasets.tiling.plan import SplitOptions
from rs4d.datasets.tiling.tiler import TilingOptions, tile
from rs4d.datasets.tiling.vectorizer import vectorize
from rs4d.geo.georeference import Georeference
from rs4d.geo.layers import read_layer
from rs4d.geo.raster_file import RasterError

ALL = SplitOptions(val=0)
OPTIONS = TilingOptions(256, 64, split=ALL)


def _matched(found, truth):
    """The intersection over union of each true polygon with the one found that fits it best."""
    tree = shapely.STRtree(found)
    best = []
    for polygon in truth:
        others = found[tree.query(polygon)]
        best.append(max(polygon.intersection(o).area / polygon.union(o).area for o in others))
    return np.array(best)


def _truth(path, crs):
    """Buildings as geopandas reads them, cut to where the raster is."""
    frame = geopandas.read_file(path).to_crs(crs)
    return shapely.make_valid(frame.geometry.to_numpy())


def test_all_buildings_come_back(data_root, tmp_path):
    folder = data_root('GEO')
    layer = read_layer(folder / 'atlanta_buildings.geojson')
    done = tile([folder / 'atlanta_pan.tif'], layer, tmp_path, OPTIONS)
    assert done.counts['train']['crowds']
    assert vectorize([done.files['train']], tmp_path, tmp_path / 'back.gpkg') == 43
    back = geopandas.read_file(tmp_path / 'back.gpkg', layer='back')
    truth = _truth(folder / 'atlanta_buildings.geojson', back.crs)
    found = back.geometry.to_numpy()
    assert _matched(found, truth).min() >= 0.999
    geod = pyproj.Geod(ellps='WGS84')
    for polygon, area in zip(back.to_crs(4326).geometry, back['area'], strict=True):
        expected = sum(
            geod.geometry_area_perimeter(shapely.geometry.polygon.orient(part))[0]
            for part in shapely.get_parts(polygon)
        )
        assert area == pytest.approx(expected, rel=1e-3)
    for polygon in truth:
        nearest = found[np.argmin([polygon.hausdorff_distance(other) for other in found])]
        assert polygon.hausdorff_distance(nearest) < 0.5 * 0.5


def test_results_without_numbers_of_objects_are_joined_where_tiles_overlap(data_root, tmp_path):
    folder = data_root('GEO')
    layer = read_layer(folder / 'atlanta_buildings.geojson')
    file = tile([folder / 'atlanta_pan.tif'], layer, tmp_path, OPTIONS).files['train']
    keys = ('image_id', 'category_id', 'segmentation')
    results = [
        {key: item[key] for key in keys} | {'score': 0.5}
        for item in json.loads(file.read_text())['annotations']
    ]
    (tmp_path / 'results.json').write_text(json.dumps(results))
    vectorize([tmp_path / 'results.json'], tmp_path, tmp_path / 'back.fgb', file)
    back = geopandas.read_file(tmp_path / 'back.fgb')
    truth = _truth(folder / 'atlanta_buildings.geojson', back.crs)
    assert len(back) == 43
    assert _matched(back.geometry.to_numpy(), truth).min() >= 0.99
    assert set(back['score']) == {0.5}


TRANSFORMS = {
    'north up': Affine(0.5, 0, 733601, 0, -0.5, 3725139),
    'south up': Affine(0.5, 0, 733601, 0, 0.5, 3724839),
    'rotated': Affine(0.4, 0.3, 733601, 0.3, -0.4, 3725139),
    'sheared': Affine(0.5, 0.1, 733601, 0.05, -0.4, 3725139),
}


def _scene(path, transform, crs=32616, bands=2, **profile):
    """600 x 500 pixels of noise; the last 200 columns have no data."""
    values = np.random.default_rng(0).integers(1, 4000, (bands, 600, 500)).astype(np.uint16)
    values[:, :, 300:] = 0
    settings = dict(driver='GTiff', height=600, width=500, count=bands, dtype='uint16', nodata=0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, 'w', **settings, transform=transform, crs=crs, **profile) as file:
            file.write(values)
            file.descriptions = [f'band {k}' for k in range(bands)]
    return values


def _holes_and_parts():
    long = shapely.box(20.5, 15.25, 280, 40.75)
    ring = shapely.Point(150, 150).buffer(70).difference(shapely.Point(150, 150).buffer(30))
    parts = shapely.MultiPolygon([shapely.box(30, 300, 60, 330), shapely.box(200, 310, 230, 340)])
    return np.array([long, ring, parts], dtype=object)


@pytest.mark.parametrize('name', TRANSFORMS)
@pytest.mark.parametrize('overlap', [0, 16])
def test_every_way_of_placing_is_kept(tmp_path, name, overlap):
    place = Georeference(TRANSFORMS[name], pyproj.CRS.from_epsg(32616))
    values = _scene(tmp_path / 'scene.tif', place.transform)
    frame = geopandas.GeoDataFrame(
        {'kind': ['quay', 'ring', 'pair']},
        geometry=list(place.to_map(_holes_and_parts())),
        crs=32616,
    )
    frame.to_crs(4326).to_file(tmp_path / 'labels.gpkg')
    layer = read_layer(tmp_path / 'labels.gpkg', class_field='kind')
    options = TilingOptions(128, overlap, split=SplitOptions(val=0, empty=1))
    done = tile([tmp_path / 'scene.tif'], layer, tmp_path, options)
    content = json.loads(done.files['train'].read_text())
    for image in content['images']:
        row, col, height, width = image['window']
        with rasterio.open(tmp_path / image['file_name']) as file:
            part = values[:, row : row + height, col : col + width]
            assert np.array_equal(file.read(), part)
            assert (file.nodata, file.dtypes[0], file.crs.to_epsg()) == (0, 'uint16', 32616)
            assert file.descriptions == ('band 0', 'band 1')
            corner = shapely.Point(col, row)
            assert shapely.Point(file.transform.c, file.transform.f).equals_exact(
                place.to_map(corner), 1e-6
            )
    assert done.counts['train']['without data']
    assert max(image['window'][1] for image in content['images']) < 300
    assert vectorize([done.files['train']], tmp_path, tmp_path / 'back.gpkg') == 3
    back = (
        geopandas.read_file(tmp_path / 'back.gpkg', layer='back')
        .set_index('class')
        .loc[frame['kind']]
    )
    for found, truth in zip(back.geometry, frame.geometry, strict=True):
        assert found.hausdorff_distance(truth) < 0.01
        assert found.symmetric_difference(truth).area < 1e-3 * truth.area
    rings = [len(part.interiors) for part in shapely.get_parts(back.geometry['ring'])]
    assert rings == [1]


def test_a_system_without_a_code_is_kept(data_root, tmp_path):
    folder = data_root('GEO')
    layer = read_layer(folder / 'custom_crs_labels.geojson', crs_override='raster')
    options = TilingOptions(128, 16, split=ALL)
    done = tile([folder / 'custom_crs.tif'], layer, tmp_path, options)
    image = json.loads(done.files['train'].read_text())['images'][0]['file_name']
    with rasterio.open(folder / 'custom_crs.tif') as scene, rasterio.open(tmp_path / image) as one:
        assert one.crs == scene.crs
        assert (one.count, one.dtypes, one.nodata) == (scene.count, scene.dtypes, scene.nodata)
    assert vectorize([done.files['train']], tmp_path, tmp_path / 'back.gpkg') == 19
    back = geopandas.read_file(tmp_path / 'back.gpkg', layer='back')
    truth = shapely.make_valid(geopandas.read_file(folder / 'custom_crs_labels.geojson').geometry)
    assert _matched(back.geometry.to_numpy(), truth.to_numpy()).min() >= 0.999
    assert pyproj.CRS(back.crs).to_dict()['proj'] == 'aea'


def test_both_splits_together_give_whole_objects(tmp_path):
    place = Georeference(TRANSFORMS['north up'], pyproj.CRS.from_epsg(32616))
    _scene(tmp_path / 'scene.tif', place.transform)
    frame = geopandas.GeoDataFrame(geometry=list(place.to_map(_holes_and_parts())), crs=32616)
    frame.to_file(tmp_path / 'labels.gpkg')
    options = TilingOptions(64, 0, split=SplitOptions(val=0.3, block=128, guard=10))
    done = tile([tmp_path / 'scene.tif'], read_layer(tmp_path / 'labels.gpkg'), tmp_path, options)
    files = list(done.files.values())
    assert len(files) == 2
    assert vectorize(files, tmp_path, tmp_path / 'back.gpkg') == 3
    back = geopandas.read_file(tmp_path / 'back.gpkg', layer='back').geometry
    # Tiles in the guard band were never written, and still nothing is missing.
    assert _matched(back.to_numpy(), frame.geometry.to_numpy()).min() > 0.9999
    assert vectorize(files, tmp_path, tmp_path / 'cut.gpkg', join=False) > 10


def test_a_scene_placed_by_control_points_comes_back(tmp_path):
    place = Georeference(TRANSFORMS['rotated'], pyproj.CRS.from_epsg(32616))
    corners = [(0, 0), (0, 500), (600, 0), (600, 500)]
    on_map = [place.to_map(shapely.Point(col, row)) for row, col in corners]
    points = [
        rasterio.control.GroundControlPoint(row, col, point.x, point.y)
        for (row, col), point in zip(corners, on_map, strict=True)
    ]
    _scene(tmp_path / 'scene.tif', None, gcps=points)
    frame = geopandas.GeoDataFrame(geometry=list(place.to_map(_holes_and_parts())), crs=32616)
    frame.to_file(tmp_path / 'labels.fgb')
    options = TilingOptions(256, 32, split=ALL)
    done = tile([tmp_path / 'scene.tif'], read_layer(tmp_path / 'labels.fgb'), tmp_path, options)
    assert vectorize([done.files['train']], tmp_path, tmp_path / 'back.parquet') == 3
    back = geopandas.read_parquet(tmp_path / 'back.parquet')
    assert back.crs.to_epsg() == 32616
    assert _matched(back.geometry.to_numpy(), frame.geometry.to_numpy()).min() > 0.9999


def test_scenes_side_by_side_share_objects(tmp_path):
    """Two scenes of one name: their files are apart, and an object that lies in both is one."""
    left = Georeference(TRANSFORMS['north up'], pyproj.CRS.from_epsg(32616))
    for name, transform in (('a', left.transform), ('b', Affine(0.5, 0, 733701, 0, -0.5, 3725139))):
        (tmp_path / name).mkdir()
        _scene(tmp_path / name / 'scene.tif', transform)
    across = left.to_map(shapely.box(150.5, 50, 350.25, 90))
    geopandas.GeoDataFrame(geometry=[across], crs=32616).to_file(tmp_path / 'labels.gpkg')
    scenes = [tmp_path / name / 'scene.tif' for name in 'ab']
    done = tile(scenes, read_layer(tmp_path / 'labels.gpkg'), tmp_path, OPTIONS)
    content = json.loads(done.files['train'].read_text())
    assert {image['scene'] for image in content['images']} == {'scene', 'scene-2'}
    assert len({image['file_name'] for image in content['images']}) == len(content['images'])
    assert vectorize([done.files['train']], tmp_path, tmp_path / 'back.fgb') == 1
    back = geopandas.read_file(tmp_path / 'back.fgb').geometry[0]
    assert back.hausdorff_distance(across) < 1e-3


def test_a_number_behind_a_name_is_not_the_name_of_another_scene(tmp_path):
    place = Georeference(TRANSFORMS['north up'], pyproj.CRS.from_epsg(32616))
    scenes = [tmp_path / name for name in ('a/s.tif', 'b/s.tif', 's-2.tif', 's-3.tif')]
    for path in scenes:
        path.parent.mkdir(exist_ok=True)
        _scene(path, place.transform)
    shape = place.to_map(shapely.box(20, 20, 60, 60))
    geopandas.GeoDataFrame(geometry=[shape], crs=32616).to_file(tmp_path / 'labels.gpkg')
    done = tile(scenes, read_layer(tmp_path / 'labels.gpkg'), tmp_path, OPTIONS)
    images = json.loads(done.files['train'].read_text())['images']
    # Tiles of one name would be written over each other, and have the labels of both scenes.
    assert len({image['file_name'] for image in images}) == len(images)
    assert len({image['scene'] for image in images}) == 4


def test_a_scene_that_breaks_off_leaves_no_annotations(data_root, tmp_path):
    folder = data_root('GEO')
    (tmp_path / 'cut.tif').write_bytes((folder / 'atlanta_pan.tif').read_bytes()[:700_000])
    layer = read_layer(folder / 'atlanta_buildings.geojson')
    with pytest.raises(RasterError, match='truncated'):
        tile([tmp_path / 'cut.tif'], layer, tmp_path / 'out', OPTIONS)
    assert not list((tmp_path / 'out').glob('*.json'))
