import numpy as np
import pyproj
import pytest
import scipy.ndimage
import shapely

from rs4d.geo.corner_rings import outer_rings
from rs4d.geo.outlines import (
    gdal_outline,
    geodesic_area,
    mask_to_polygon,
    polygon_to_mask,
    polygonal,
)


def _pixel_squares(mask, origin=(0, 0)):
    """The definition: the union of the squares of all pixels."""
    squares = [
        shapely.box(x + origin[0], y + origin[1], x + origin[0] + 1, y + origin[1] + 1)
        for y, x in np.argwhere(mask)
    ]
    return shapely.union_all(squares)


@pytest.mark.parametrize('seed', range(8))
def test_an_outline_is_the_union_of_the_pixels(seed):
    generator = np.random.default_rng(seed)
    mask = generator.random((17, 23)) < generator.uniform(0.2, 0.9)
    outline = mask_to_polygon(mask, (5, -3))
    assert outline.is_valid
    assert outline.area == mask.sum()
    assert outline.equals(_pixel_squares(mask, (5, -3)))


def test_outlines_by_corners_are_those_of_gdal():
    """All masks of 3 x 3 pixels: parts that touch at a corner, rings that meet themselves, a hole."""
    places = np.arange(9)
    with_holes = 0
    for code in range(1, 512):
        mask = (code >> places & 1).astype(bool).reshape(3, 3)
        outline, definition = mask_to_polygon(mask, (5, -3)), gdal_outline(mask, (5, -3))
        assert outline.is_valid
        assert outline.equals(definition)
        assert len(outline.geoms) == len(definition.geoms)
        with_holes += outer_rings(mask) is None
    assert with_holes == 1


@pytest.mark.parametrize('seed', range(8))
def test_outlines_of_blobs(seed):
    generator = np.random.default_rng(seed)
    noise = generator.random(generator.integers(5, 60, 2))
    smooth = scipy.ndimage.gaussian_filter(noise, generator.uniform(0.5, 3))
    mask = smooth > np.quantile(smooth, 0.6)
    rings = outer_rings(scipy.ndimage.binary_fill_holes(mask))
    assert rings is not None
    assert mask_to_polygon(mask).equals(gdal_outline(mask))
    filled = scipy.ndimage.binary_fill_holes(mask)
    assert mask_to_polygon(filled).equals(_pixel_squares(filled))


def test_holes_that_touch_at_a_corner_are_kept():
    mask = np.ones((4, 4), bool)
    mask[1, 1] = mask[2, 2] = False
    outline = mask_to_polygon(mask)
    assert outline.is_valid
    assert outline.equals(_pixel_squares(mask))


def test_no_pixels_no_outline():
    assert mask_to_polygon(np.zeros((3, 3))).is_empty
    assert not polygon_to_mask(shapely.MultiPolygon(), 3, 3).any()


@pytest.mark.parametrize('seed', range(4))
def test_a_mask_of_its_outline_is_the_mask(seed):
    mask = np.random.default_rng(seed).random((20, 30)) < 0.6
    assert np.array_equal(polygon_to_mask(mask_to_polygon(mask, (7, 9)), 20, 30, (7, 9)), mask)


def test_a_mask_holds_the_pixels_whose_centre_is_inside():
    polygon = shapely.Polygon([(1.2, 0.7), (18.3, 4.1), (9.9, 17.2)], [[(9, 5), (11, 6), (9, 8)]])
    y, x = np.mgrid[:16, :20] + 0.5
    assert np.array_equal(polygon_to_mask(polygon, 16, 20), shapely.contains_xy(polygon, x, y))


def test_mending_keeps_what_has_an_area():
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    assert polygonal(bow_tie).area == pytest.approx(2)
    assert len(polygonal(bow_tie).geoms) == 2
    mixed = shapely.GeometryCollection([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)])
    assert polygonal(mixed).equals(shapely.box(0, 0, 1, 1))
    assert polygonal(shapely.Point(1, 1)).is_empty
    overlapping = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)])
    assert polygonal(overlapping).area == pytest.approx(6)


@pytest.mark.parametrize('crs', ['EPSG:32616', 'EPSG:4326', 'EPSG:27561', 'EPSG:5070', 'EPSG:7415'])
def test_areas_are_those_of_pyproj(crs):
    """Grads, feet and heights included; a hole counts as outside."""
    crs = pyproj.CRS.from_user_input(crs)
    area = crs.area_of_use
    lon, lat = (area.west + area.east) / 2, (area.south + area.north) / 2
    ring = np.array(shapely.box(lon, lat, lon + 0.01, lat + 0.008).exterior.coords)
    hole = (ring - ring.mean(axis=0)) / 2 + ring.mean(axis=0)
    degrees = shapely.Polygon(ring, [hole])
    into = pyproj.Transformer.from_crs('EPSG:4326', crs, always_xy=True)
    polygon = shapely.transform(degrees, lambda xy: np.stack(into.transform(*xy.T), axis=1))
    outer = shapely.geometry.polygon.orient(degrees)
    expected = pyproj.Geod(ellps='WGS84').geometry_area_perimeter(outer)[0]
    assert geodesic_area(polygon, crs) == pytest.approx(expected, rel=1e-3)
    both = shapely.MultiPolygon([polygon])
    assert geodesic_area(both, crs) == geodesic_area(polygon, crs)


def test_no_system_no_area():
    assert geodesic_area(shapely.box(0, 0, 1, 1), None) is None
    local = pyproj.CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    assert geodesic_area(shapely.box(0, 0, 1, 1), local) is None
