"""The proposals of the faster RPN are MMDetection's."""

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from rs4d.config import load_config


def test_proposals_are_those_of_mmdetection() -> None:
    cfg = load_config('configs/rs4d/rs4d-base_bbox_ssdd.py').model
    test_cfg = ConfigDict(cfg.test_cfg.rpn, nms_pre=200, max_per_img=100)
    assert cfg.rpn_head.type == 'WinogradRPNHead'
    torch.manual_seed(0)
    ours = MODELS.build(dict(cfg.rpn_head, test_cfg=test_cfg))
    theirs = MODELS.build(
        dict(
            cfg.rpn_head,
            type='RPNHead',
            test_cfg=ConfigDict(test_cfg, nms=dict(type='nms', iou_threshold=0.7)),
        )
    )
    theirs.load_state_dict(ours.state_dict())
    maps = tuple(torch.randn(1, 256, side, side) for side in (32, 16, 8, 4, 2))
    metas = [dict(img_shape=(128, 128))]
    with torch.no_grad():
        for a, b in zip(ours(maps), theirs(maps), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        scores, deltas = theirs(maps)
        (found,) = ours.predict_by_feat(scores, deltas, batch_img_metas=metas)
        (expected,) = theirs.predict_by_feat(scores, deltas, batch_img_metas=metas)
    assert type(theirs) is RPNHead
    assert len(found) == 100
    for name in ('bboxes', 'scores', 'labels'):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
