import json

import numpy as np
import pytest
import shapely
from pycocotools import mask as coco_mask

from rs4d.datasets.errors import AnnotationError
from rs4d.datasets.tiling.annotations import from_coco, pieces, to_coco
from rs4d.geo.outlines import polygon_to_mask, polygonal
from rs4d.geo.window import Window

HOLED = shapely.Point(30, 25).buffer(20).difference(shapely.Point(32, 24).buffer(6))
SHAPES = {
    'one part': shapely.Polygon([(3.25, 4.5), (40.125, 8.75), (22.5, 50.0625)]),
    'two parts': shapely.MultiPolygon([shapely.box(1, 2, 9.5, 12), shapely.box(20, 20, 31, 44.25)]),
    'a hole': HOLED,
    'an island in a hole': HOLED.union(shapely.Point(32, 24).buffer(2)),
}


@pytest.mark.parametrize('name', SHAPES)
def test_polygons_survive_a_file(name):
    polygon = polygonal(SHAPES[name])
    record = json.loads(json.dumps(to_coco(polygon, 60, 64)))
    assert from_coco(record, 60, 64).symmetric_difference(polygon).area < 1e-9
    assert record['area'] == pytest.approx(polygon.area)


@pytest.mark.parametrize('name', SHAPES)
def test_coco_sees_the_same_pixels(name):
    polygon = polygonal(SHAPES[name])
    shape = to_coco(polygon, 60, 64)['segmentation']
    if isinstance(shape, list):
        shape = coco_mask.merge(coco_mask.frPyObjects(shape, 60, 64))
    found = coco_mask.decode(shape).astype(bool)
    wanted = polygon_to_mask(polygon, 60, 64)
    # pycocotools rounds polygons in its own way, along their edges.
    assert (found & wanted).sum() / (found | wanted).sum() > 0.93
    assert isinstance(to_coco(polygon, 60, 64)['segmentation'], dict) == ('hole' in name)


def test_run_lengths_of_results_become_outlines():
    mask = polygon_to_mask(HOLED, 60, 64)
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    found = from_coco({'segmentation': rle | {'counts': rle['counts'].decode()}}, 60, 64)
    assert np.array_equal(polygon_to_mask(found, 60, 64), mask)
    assert found.area == mask.sum()


@pytest.mark.parametrize('shape', [None, [], [[1, 2, 3]], {'size': [60, 64]}, 'x'])
def test_what_is_no_segmentation_is_said(shape):
    with pytest.raises(AnnotationError, match='annotation 7'):
        from_coco({'id': 7, 'segmentation': shape}, 60, 64)


def test_a_window_shows_pieces_and_says_which_are_crowds():
    polygons = np.array([polygonal(shapely.box(x, 10, x + 10, 20)) for x in (5, 92, 97, 200)])
    tree = shapely.STRtree(polygons)
    found = pieces(polygons, tree, Window(0, 0, 100, 100), 0.5)
    assert [(number, crowd) for number, _, crowd in found] == [(0, False), (1, False), (2, True)]
    assert found[1][1].bounds == (92, 10, 100, 20)
    shifted = pieces(polygons, tree, Window(8, 90, 100, 100), 0.5)
    assert shifted[0][1].bounds == (2, 2, 12, 12)
