"""Ground that two scenes show is not in both splits."""

import pyproj
import pytest
from affine import Affine

from rs4d.datasets.tiling.ground import refuse_shared_ground
from rs4d.datasets.tiling.plan import Tile, TilingError
from rs4d.geo.georeference import Georeference
from rs4d.geo.window import Window

UTM = pyproj.CRS.from_epsg(32616)


def _scenes(east, crs=UTM):
    left = Georeference(Affine(0.5, 0, 733601, 0, -0.5, 3725139), UTM)
    right = Georeference(Affine(0.5, 0, 733601 + east, 0, -0.5, 3725139), crs)
    return [('a.tif', left), ('b.tif', right)]


def _tile(scene):
    return Tile(scene, Window(0, 0, 256, 256), 1)


@pytest.mark.parametrize('east', [0, 64, 126])
def test_scenes_that_overlap_are_refused(east):
    with pytest.raises(TilingError, match=r'a\.tif.*b\.tif'):
        refuse_shared_ground(_scenes(east), [_tile(0)], [_tile(1)])


@pytest.mark.parametrize('east', [128, 127.5])
def test_neighbours_are_not(east):
    refuse_shared_ground(_scenes(east), [_tile(0)], [_tile(1)])


def test_overlaps_within_a_split_or_a_scene_are_others_business():
    refuse_shared_ground(_scenes(0), [_tile(0), _tile(1)], [])
    refuse_shared_ground(_scenes(1000), [_tile(0)], [_tile(0)])


def test_systems_may_differ():
    here = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True)
    x, y = here.transform(733601, 3725139)
    degrees = Georeference(Affine(5e-6, 0, x, 0, -5e-6, y), pyproj.CRS.from_epsg(4326))
    scenes = [_scenes(0)[0], ('b.tif', degrees)]
    with pytest.raises(TilingError, match='show ground'):
        refuse_shared_ground(scenes, [_tile(0)], [_tile(1)])
    far = Georeference(Affine(5e-6, 0, x + 0.1, 0, -5e-6, y), pyproj.CRS.from_epsg(4326))
    refuse_shared_ground([scenes[0], ('b.tif', far)], [_tile(0)], [_tile(1)])
