"""Boxes in one stage and masks in them: against MMDetection's parts, one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from rs4d.config import resolve

MODEL = Path(__file__).parents[3] / 'configs/_base_/models/light.py'


@pytest.fixture
def model() -> nn.Module:
    cfg = Config.fromfile(MODEL)
    cfg.num_classes = 3
    resolve(cfg)
    cfg.model.backbone.update(depth=18, init_cfg=None)
    cfg.model.neck.in_channels = (64, 128, 256, 512)
    cfg.model.test_cfg.update(score_thr=0.0, max_per_img=7)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model).train()


def inputs(model: nn.Module, counts: list[int]) -> tuple[torch.Tensor, list[Any]]:
    torch.manual_seed(1)
    data = demo_mm_inputs(
        len(counts), [[3, 64, 96]] * len(counts), num_items=counts, num_classes=3, with_mask=True
    )
    for sample in data['data_samples']:
        sample.set_metainfo(dict(ori_shape=(128, 192), scale_factor=(0.5, 0.5)))
    data = model.data_preprocessor(data, training=False)
    return data['inputs'], data['data_samples']


def test_losses_of_boxes_are_those_of_the_dense_head_without_masks(model: nn.Module) -> None:
    images, samples = inputs(model, [3, 2])
    model.eval()
    ours = model.loss(images, samples)
    assert set(ours) == {'loss_cls', 'loss_bbox', 'loss_mask'}
    for sample in samples:
        del sample.gt_instances.masks
    expected = SingleStageDetector.loss(model, images, samples)
    for name, losses in expected.items():
        torch.testing.assert_close(torch.stack(ours[name]), torch.stack(losses))


def test_loss_of_masks_in_true_boxes_is_that_of_the_mask_head(model: nn.Module) -> None:
    images, samples = inputs(model, [3, 0, 2])
    model.eval()
    head = model.roi_head
    head.jitter = 0.0
    maps = model.extract_feat(images)
    objects = [sample.gt_instances for sample in samples]
    rois = bbox2roi([item.bboxes for item in objects])
    logits = head.mask_head(head.mask_roi_extractor(maps[:3], rois))[:, 0]
    wanted = torch.cat(
        [
            item.masks.crop_and_resize(
                item.bboxes, (28, 28), torch.arange(len(item)), 'cpu'
            ).to_tensor(torch.float32, 'cpu')
            for item in objects
            if len(item)
        ]
    )
    expected = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
    torch.testing.assert_close(head.loss(maps, samples)['loss_mask'], expected.reshape(1))


def test_few_masks_are_drawn_and_boxes_are_moved_a_little(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, samples = inputs(model, [9])
    head = model.roi_head
    head.max_masks = 4
    seen = []
    forward = head._mask_forward
    monkeypatch.setattr(
        head, '_mask_forward', lambda x, rois: seen.append(rois) or forward(x, rois)
    )
    head.loss(model.extract_feat(images), samples)
    true = samples[0].gt_instances.bboxes
    moved = (seen[0][:, None, 1:] - true).abs() / (true[:, 2:] - true[:, :2]).repeat(1, 2)
    nearest = moved.amax(-1).min(1)
    assert len(seen[0]) == len(set(nearest.indices.tolist())) == 4
    assert (nearest.values <= 0.1 + 1e-5).all()
    assert (nearest.values > 0).all()


def test_predicted_masks_lie_in_the_boxes_of_the_dense_head(model: nn.Module) -> None:
    images, samples = inputs(model, [1, 1])
    model.eval()
    with torch.no_grad(), DefaultScope.overwrite_default_scope('mmdet'):
        boxes = model.bbox_head.predict(model.extract_feat(images), samples, rescale=True)
        results = model.predict(images, samples)
    for found, expected in zip(results, boxes, strict=True):
        instances = found.pred_instances
        assert len(instances) == 7
        for name in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(instances[name], expected[name])
        assert instances.masks.shape == (7, 128, 192)
        for box, mask in zip(instances.bboxes, instances.masks, strict=True):
            y, x = mask.nonzero().T
            assert (x >= box[0].floor() - 1).all()
            assert (x <= box[2].ceil()).all()
            assert (y >= box[1].floor() - 1).all()
            assert (y <= box[3].ceil()).all()
