"""A scene of many windows with the truth in the model's place: nothing is doubled, cut or lost."""

import geopandas
import numpy as np
import pytest
import shapely
from inference.oracle import CLASSES, PLACE, Oracle, write_scene
from inference.seams import draw_seams, outlines
from inference.test_scene import ORIGIN

from rs4d.inference.running import Options, predict_inputs
from rs4d.inference.tiles import TilePlan


def compare(ids, layer):
    """Count what is doubled, cut or lost of the objects of a scene in a layer of its oracle."""
    truth = dict(outlines(ids))
    seen = dict.fromkeys(truth, 0)
    counts = dict(doubled=0, cut=0, lost=0, unknown=0)
    inverse = ~PLACE
    matrix = np.array([[inverse.a, inverse.d], [inverse.b, inverse.e]])
    offset = np.array([inverse.c, inverse.f])
    shapes = shapely.transform(layer.geometry.to_numpy(), lambda xy: np.rint(xy @ matrix + offset))
    for shape, score, name in zip(shapes, layer['score'], layer['class'], strict=True):
        number = round((1 - score) * 1e5)
        if number not in truth or name != CLASSES[number % 2]:
            counts['unknown'] += 1
            continue
        seen[number] += 1
        counts['doubled'] += seen[number] > 1
        counts['cut'] += not shapely.equals(shape, truth[number])
    counts['lost'] = sum(not times for times in seen.values())
    return counts


@pytest.mark.parametrize('seed', range(2))
def test_objects_on_seams(tmp_path, seed):
    ids = np.ones((2048, 2048), np.uint16)
    plan = TilePlan(*ids.shape, 256, 64)
    drawn = draw_seams(ids, plan, np.random.default_rng(seed), 500, 100)
    assert min(drawn.values()) > 10
    # Strips, as GDAL writes unless it is told otherwise.
    scene = write_scene(tmp_path / 'scene.tif', ids)
    options = Options(tmp_path / 'out', size=256, overlap=64, batch_size=4)
    outcome = predict_inputs(Oracle(), [str(scene)], options, ORIGIN, {})
    assert outcome.objects == drawn['all']
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg', layer='predictions')
    assert compare(ids, layer) == dict(doubled=0, cut=0, lost=0, unknown=0)


def test_objects_on_seams_of_windows_that_share_nothing(tmp_path):
    ids = np.ones((200, 150), np.uint16)
    # Across one seam, across a crossing of two, through three windows, with a hole on a seam.
    for number, box in enumerate(
        ((5, 50, 20, 90), (50, 40, 80, 70), (90, 5, 100, 149), (110, 50, 150, 90)), 2
    ):
        top, left, bottom, right = box
        ids[top:bottom, left:right] = number
    ids[120:140, 58:70] = 1
    # Beside each other along a seam, of one class, and touching at a few pixels only.
    ids[160:190, 50:64], ids[188:199, 64:80] = 6, 8
    scene = write_scene(tmp_path / 'scene.tif', ids)
    outcome = predict_inputs(
        Oracle(), [str(scene)], Options(tmp_path / 'out', size=64, overlap=0), ORIGIN, {}
    )
    assert outcome.objects == 6
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg')
    assert compare(ids, layer) == dict(doubled=0, cut=0, lost=0, unknown=0)
