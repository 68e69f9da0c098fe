import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine

from rs4d.geo.georeference import Georeference
from rs4d.geo.labels import labels_in_raster, outside
from rs4d.geo.layers import Layer, LayerError, read_layer

UTM = pyproj.CRS.from_epsg(32616)
PLACE = Georeference(Affine(0.5, 0, 733601, 0, -0.5, 3725139), UTM)


def _layer(*geometries, crs=UTM, **more):
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return Layer('roofs.gpkg', 'roofs', array, ['roof'] * len(geometries), crs, **more)


def _labels(layer, georeference=PLACE):
    return labels_in_raster(layer, georeference, 900, 900, 'scene.tif')


def test_another_system_lands_on_the_same_pixels():
    square = shapely.box(100, 200, 180, 260)
    on_map = PLACE.to_map(square)
    for code in (4326, 3857, 32617, 5070):
        into = pyproj.Transformer.from_crs(UTM, code, always_xy=True)
        moved = shapely.transform(on_map, lambda xy, t=into: np.stack(t.transform(*xy.T), axis=1))
        found = _labels(_layer(moved, crs=pyproj.CRS.from_epsg(code))).polygons
        assert found[0].symmetric_difference(square).area < 1e-3


def test_long_edges_bend_as_their_system_says():
    """A degree of latitude's parallel is no straight line in UTM."""
    edge = shapely.box(-84.5, 33.0, -83.5, 33.2)
    wide = Georeference(Affine(30, 0, 730000, 0, -30, 3680000), UTM)
    found = labels_in_raster(_layer(edge, crs=pyproj.CRS.from_epsg(4326)), wide, 4000, 4000, 'a')
    into = pyproj.Transformer.from_crs(4326, UTM, always_xy=True)
    dense = shapely.transform(
        shapely.segmentize(edge, 0.001), lambda xy: np.stack(into.transform(*xy.T), axis=1)
    )
    assert found.polygons[0].hausdorff_distance(wide.to_pixel(dense)) < 0.5


def test_what_is_wrong_is_mended_or_counted():
    holed = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    parts = shapely.MultiPolygon([shapely.box(20, 0, 25, 5), shapely.box(30, 0, 35, 5)])
    bow_tie = shapely.Polygon([(40, 0), (60, 20), (60, 0), (40, 20)])
    flat = shapely.Polygon([(0, 0), (5, 0), (0, 0)])
    odd = [None, shapely.Polygon(), shapely.Point(3, 3), flat, shapely.box(5000, 0, 5010, 9)]
    found = _labels(_layer(*(PLACE.to_map(np.array([holed, parts, bow_tie, *odd], dtype=object)))))
    assert found.features.tolist() == [0, 1, 2]
    for polygon, area in zip(found.polygons, (96, 50, 200), strict=True):
        assert polygon.is_valid
        assert polygon.area == pytest.approx(area)
    assert len(found.polygons[0].geoms[0].interiors) == 1
    assert found.left_out == {
        'mended': 2,
        'without geometry': 2,
        'no polygons': 1,
        'without area': 1,
        'outside of the raster': 1,
    }


def test_no_polygons_are_refused():
    with pytest.raises(LayerError, match=r"no polygon in layer 'roofs': 1 features, Point"):
        _labels(_layer(shapely.Point(0, 0)))
    with pytest.raises(LayerError, match='0 features, none with a geometry'):
        _labels(_layer())


def test_unknown_systems_are_refused_unless_both_are():
    square = PLACE.to_map(shapely.box(1, 1, 9, 9))
    nowhere = Georeference(PLACE.transform, None)
    with pytest.raises(LayerError, match=r"'roofs.gpkg' states no .*--labels-crs raster"):
        _labels(_layer(square, crs=None))
    with pytest.raises(LayerError, match=r"'scene.tif' states no .*--labels-crs raster"):
        _labels(_layer(square), nowhere)
    with pytest.raises(LayerError, match=r"'scene.tif' has no georeference"):
        _labels(_layer(square), None)
    for layer, place in [
        (_layer(square, crs=None), nowhere),
        (_layer(square, crs=None, of_raster=True), PLACE),
        (_layer(square, crs=None, of_raster=True), nowhere),
    ]:
        assert _labels(layer, place).polygons[0].area == pytest.approx(64)


def test_a_layer_elsewhere_says_both_extents():
    layer = _layer(shapely.box(0, 0, 100, 100))
    assert not len(_labels(layer).polygons)
    message = str(outside(layer, PLACE, 900, 900, 'scene.tif'))
    assert 'x 0 to 100, y 0 to 100' in message
    assert 'x 733601 to 734051, y 3724689 to 3725139' in message


def test_the_true_system_puts_labels_into_the_raster(data_root):
    """Labels in the raster's own system, which has no code, and says so with --labels-crs."""
    folder = data_root('GEO')
    with rasterio.open(folder / 'custom_crs.tif') as file:
        place, wkt = Georeference.from_dataset(file), file.crs.to_wkt()
    for system in ('raster', wkt):
        layer = read_layer(folder / 'custom_crs_labels.geojson', crs_override=system)
        found = labels_in_raster(layer, place, 512, 512, 'custom_crs.tif')
        assert len(found.polygons) == 19
        back = place.to_map(found.polygons)
        for polygon, feature in zip(back, found.features, strict=True):
            original = layer.geometries[feature]
            assert polygon.symmetric_difference(original).area < 1e-6 * original.area
