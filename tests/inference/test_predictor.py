"""The predictor against MMDetection's own inference, and what it refuses."""

import cv2
import numpy as np
import pytest
import rasterio
import torch
from inference.conftest import CONFIG, SMALL
from inference.oracle import PLACE
from mmdet.apis import inference_detector
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask

from rs4d.apis import Predictor
from rs4d.config.stored import config_from_text
from rs4d.errors import ConfigError, UserError
from rs4d.inference.outputs import Origin
from rs4d.inference.running import Options, predict_inputs
from rs4d.inference.scene import Limit


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    return path


def test_it_is_the_inference_of_mmdetection(checkpoint, image):
    predictor = Predictor(None, checkpoint, 'cpu', score_thr=0.0)
    found = predictor.predict(image)
    assert len(found) > 5
    model = predictor.model
    model.cfg = predictor.cfg
    pipeline = model.cfg.test_dataloader.dataset.pipeline
    model.cfg.test_dataloader.dataset.pipeline = [
        step for step in pipeline if step.type != 'LoadAnnotations'
    ]
    with torch.no_grad(), DefaultScope.overwrite_default_scope('mmdet'):
        theirs = inference_detector(model, str(image)).pred_instances
    order = theirs.scores.argsort(descending=True, stable=True)
    assert np.allclose(found.boxes, theirs.bboxes[order], atol=1e-4)
    assert np.allclose(found.scores, theirs.scores[order], atol=1e-6)
    assert (found.labels == theirs.labels[order].numpy()).all()
    assert (found.masks == theirs.masks[order].numpy()).mean() > 0.9999
    assert found.class_names == [('house', 'pool')[label] for label in found.labels]
    assert np.array_equal(coco_mask.decode(found.rles), np.moveaxis(found.masks, 0, -1))
    assert [shape.area for shape in found.polygons] == found.masks.sum((1, 2)).tolist()


def test_arrays_batches_and_thresholds(checkpoint, image):
    predictor = Predictor(CONFIG, checkpoint, 'cpu', score_thr=0.0, options=SMALL)
    pixels = cv2.imread(str(image))
    one, other = predictor.predict_batch([pixels, image])
    assert np.allclose(one.boxes, other.boxes, atol=1e-4)
    predictor.score_thr = float(one.scores[0]) + 1e-4
    assert len(predictor.predict(pixels)) == 0
    assert predictor.predict(pixels).masks.shape == (0, 48, 64)
    with pytest.raises(ConfigError, match='height, width, bands'):
        predictor.predict(pixels[..., 0])


def test_arrays_of_another_kind_are_one_sentence(checkpoint, image):
    predictor = Predictor(CONFIG, checkpoint, 'cpu', score_thr=0.0, options=SMALL)
    pixels = cv2.imread(str(image))
    exact = predictor.predict(pixels)
    for same in (pixels.astype(np.float32), pixels.astype(np.float64), np.asfortranarray(pixels)):
        found = predictor.predict(same)
        assert np.allclose(found.boxes, exact.boxes, atol=0.05)
        assert np.allclose(found.scores, exact.scores, atol=1e-3)
    assert predictor.predict(pixels[:1]).masks.shape[1:] == (1, 64)
    for wrong, said in (
        (pixels.astype(np.uint16) * 256, 'values of type uint16'),
        (pixels.astype(np.int64), 'values of type int64'),
        (pixels > 9, 'values of type bool'),
        (pixels / 255, 'from 0 to 1'),
        (pixels * 20.0, 'from 0 to 5100'),
        (np.where(pixels > 250, np.nan, pixels), 'NaN'),
        (pixels[:0], 'no pixel'),
        (pixels[None], 'height, width, bands'),
        (pixels[..., :1], 'has 1 bands'),
        (pixels[..., [0, 1, 2, 0]], 'has 4 bands'),
        (np.moveaxis(pixels, -1, 0), 'has 64 bands'),
        (pixels.tolist(), 'not a list'),
    ):
        with pytest.raises(ConfigError, match=said):
            predictor.predict(wrong)


def test_a_raster_lies_on_the_map(checkpoint, tmp_path):
    path = tmp_path / 'r.tif'
    pixels = np.random.default_rng(1).integers(0, 256, (3, 64, 64), np.uint8)
    options = dict(driver='GTiff', height=64, width=64, count=3, dtype='uint8')
    with rasterio.open(path, 'w', **options, transform=PLACE, crs=32616) as file:
        file.write(pixels)
    load = [dict(type='LoadRaster', bands=[3, 2, 1])]
    predictor = Predictor(
        CONFIG, checkpoint, 'cpu', score_thr=0.0, options=SMALL | {'load_image': load[0]}
    )
    found = predictor.predict(path)
    assert found.georeference.crs.to_epsg() == 32616
    areas = [shape.area for shape in found.map_polygons]
    assert areas == pytest.approx((found.masks.sum((1, 2)) * 0.25).tolist())


def test_as_many_objects_as_the_model_gives(checkpoint, tmp_path):
    few = SMALL | {'model.test_cfg.max_per_img': 3}
    predictor = Predictor(CONFIG, checkpoint, 'cpu', score_thr=0.0, options=few)
    assert predictor.limit == Limit('model.test_cfg.max_per_img', 3)
    image = np.random.default_rng(0).integers(1, 256, (150, 64, 3), np.uint8)
    assert len(predictor.predict(image)) == 3
    path = tmp_path / 'scene.tif'
    options = dict(driver='GTiff', height=150, width=64, count=3, dtype='uint8')
    with rasterio.open(path, 'w', **options, transform=PLACE, crs=32616) as file:
        file.write(np.moveaxis(image, -1, 0))
    options = Options(tmp_path / 'out', size=64, overlap=16)
    outcome = predict_inputs(predictor, [str(path)], options, Origin('', '', ''), {})
    (warning,) = (text for text in outcome.warnings if 'as many as' in text)
    assert '3 of 3 windows show 3 objects' in warning
    assert '--cfg-options model.test_cfg.max_per_img=12' in warning


def test_what_does_not_fit_is_one_sentence(checkpoint, tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        Predictor(None, tmp_path / 'absent.pth')
    torch.save(dict(state_dict={}), tmp_path / 'bare.pth')
    with pytest.raises(UserError, match='does not hold its config'):
        Predictor(None, tmp_path / 'bare.pth')


def test_an_option_that_changes_nothing_is_refused(checkpoint):
    with pytest.raises(ConfigError, match='of the checkpoint refers to image_size, so that'):
        Predictor(None, checkpoint, 'cpu', options=dict(image_size=128))
    with pytest.raises(ConfigError, match=r"model\.test_cfg has no 'max_per_image'"):
        Predictor(None, checkpoint, 'cpu', options={'model.test_cfg.max_per_image': 3})
    few = Predictor(
        None, checkpoint, 'cpu', score_thr=0.0, options={'model.test_cfg.max_per_img': 3}
    )
    assert len(few.predict(np.zeros((64, 64, 3), np.uint8))) == 3


def test_a_stored_config_is_not_run(tmp_path):
    text = "a = dict({'x.y': (1, -2.0)}, z=[None, True])\nb = {'c': 'd'}\n"
    assert config_from_text(text, 'x').to_dict() == dict(
        a={'x.y': (1, -2.0), 'z': [None, True]}, b=dict(c='d')
    )
    for bad in (f"a = open({str(tmp_path / 'made')!r}, 'w')", 'import os', 'a = b', 'a ='):
        with pytest.raises(ConfigError, match='nothing of it was run'):
            config_from_text(bad, 'x')
    assert not (tmp_path / 'made').exists()
