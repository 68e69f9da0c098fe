import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from skimage.measure import euler_number
from skimage.measure import label as label_components

from rs4d.datasets import OutputExistsError
from rs4d.datasets.converters import mask_to_segmentation, write_json
from rs4d.datasets.converters.coco_json import trace_outlines


def rasterise(segmentation, height, width):
    if isinstance(segmentation, list):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width)))
    return coco_mask.decode(segmentation)


def mask_of(*rows):
    return np.array([[c == '#' for c in row] for row in rows])


@pytest.mark.parametrize(
    ('mask', 'outlines'),
    [
        (mask_of('#'), [[0, 0, 1, 0, 1, 1, 0, 1]]),
        (mask_of('...', '.##'), [[1, 1, 3, 1, 3, 2, 1, 2]]),
        (mask_of('##', '#.'), [[0, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2]]),
        # Pixels that touch at a corner stay one outline, which visits the corner twice.
        (mask_of('#.', '.#'), [[0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 1, 2, 1, 1, 0, 1]]),
    ],
)
def test_outlines_by_hand(mask, outlines):
    assert trace_outlines(mask) == outlines


def test_hole_gives_a_second_outline_and_run_lengths():
    ring = mask_of('###', '#.#', '###')
    assert len(trace_outlines(ring)) == 2
    segmentation = mask_to_segmentation(ring)
    assert segmentation['size'] == [3, 3]
    assert isinstance(segmentation['counts'], str)
    assert np.array_equal(rasterise(segmentation, 3, 3).astype(bool), ring)


@pytest.mark.parametrize('density', [0.2, 0.5, 0.8, 0.97])
def test_outlines_count_pieces_and_holes(density):
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((12, 15)) < density
        pieces = label_components(mask, connectivity=2).max()
        holes = pieces - euler_number(mask, connectivity=2)
        assert len(trace_outlines(mask)) == pieces + holes


@pytest.mark.parametrize('density', [0.3, 0.6, 0.9])
def test_random_components_rasterise_to_themselves(density):
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(20):
        components = label_components(rng.random((13, 17)) < density, connectivity=2)
        for i in range(1, components.max() + 1):
            mask = components == i
            segmentation = mask_to_segmentation(mask, offset=(4, 6), image_size=(30, 40))
            kinds.add(type(segmentation))
            full = np.zeros((30, 40), bool)
            full[6:19, 4:21] = mask
            assert np.array_equal(rasterise(segmentation, 30, 40).astype(bool), full)
    # Sparse masks are mostly polygons, dense ones all have holes.
    assert kinds == ({dict} if density == 0.9 else {dict, list})


def test_json_is_not_replaced_unasked_and_survives_a_failed_write(tmp_path):
    path = tmp_path / 'a/b.json'
    write_json(path, [1])
    with pytest.raises(OutputExistsError, match=r'b\.json.*--overwrite'):
        write_json(path, [2])
    with pytest.raises(TypeError):
        write_json(path, [object()], overwrite=True)
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in path.parent.iterdir()] == ['b.json']
    write_json(path, [3], overwrite=True)
    assert json.loads(path.read_text()) == [3]
