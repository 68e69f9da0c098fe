"""Predictions in bfloat16 are those in float32, as AP sees them: Mask R-CNN, prompts and queries."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from pycocotools import mask as run_lengths
from reduced_configs import CONFIGS
from torch import nn
from training_steps import batch, build, train

from rs4d.config import load_config
from rs4d.datasets import ScenesInsSegDataset
from rs4d.datasets.scenes import ensure_scenes
from rs4d.engine.precision import predict_in_dtype
from rs4d.evaluation import InstanceMetric

TINY = Path(__file__).parents[1] / 'tools' / 'tiny_config.py'


def predict(model: nn.Module, data: dict[str, Any]) -> list[Any]:
    with torch.no_grad(), DefaultScope.overwrite_default_scope('mmdet'):
        return model.eval().test_step(copy.deepcopy(data))


def as_truth(result: Any) -> list[dict[str, Any]]:
    """What was found as the annotations of its image."""
    found = result.pred_instances
    masks = [run_lengths.encode(np.asfortranarray(mask, np.uint8)) for mask in found.masks.numpy()]
    return [
        dict(bbox=box, bbox_label=0, mask=dict(rle, counts=rle['counts'].decode()), ignore_flag=0)
        for box, rle in zip(found.bboxes.tolist(), masks, strict=True)
    ]


# So many that some objects are sure: which of unsure ones comes first is left to rounding.
STEPS = {'bbox': 150, 'prompt': 90, 'query': 90}


# The query head learns slowly: a minute, with the slow tests.
@pytest.mark.parametrize(
    'head', ['bbox', 'prompt', pytest.param('query', marks=pytest.mark.slow_configs)]
)
def test_scores_in_bfloat16(head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_scenes(tmp_path, num_train=2, num_val=16, size=64, seed=0)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(tmp_path))
    cfg = load_config(TINY)
    cfg.optim_wrapper.optimizer.lr = 4e-3 if head == 'bbox' else 2e-3
    if head == 'prompt':
        parts = load_config(CONFIGS / 'demo/rs4d-tiny_prompt_scenes.py').model
        mask_head = parts.roi_head.mask_head
        mask_head.embedding_channels = mask_head.prompter.in_channels = cfg.width
        cfg.model.type = parts.type
        cfg.model.roi_head.update(type=parts.roi_head.type, max_masks_per_image=4)
        cfg.model.roi_head.mask_head = mask_head
    if head == 'query':
        parts = load_config(CONFIGS / 'rs4d/rs4d-tiny_query_ssdd.py').model
        parts.bbox_head.update(
            num_classes=cfg.num_classes,
            num_queries=10,
            embedding_channels=cfg.width,
            in_channels=[cfg.width] * 4,
        )
        parts.test_cfg.update(score_thr=0.0, max_per_img=5)
        parts.backbone, parts.neck = cfg.model.backbone, cfg.model.neck
        parts.neck[1].out_strides = parts.bbox_head.pixel_decoder.strides
        cfg.model = parts
    set_random_seed(0)
    model, optim_wrapper = build(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        data, unseen = batch(cfg, 'train', 2), batch(cfg, 'val', 16)
    for _ in range(STEPS[head]):
        train(model, optim_wrapper, copy.deepcopy(data))

    plain = predict(model, unseen)
    predict_in_dtype(model, 'bfloat16')
    mixed = predict(model, unseen)
    assert not torch.equal(plain[0].pred_instances.scores, mixed[0].pred_instances.scores)
    for result in plain + mixed:
        # So little training leaves open which class it is.
        result.pred_instances.labels.zero_()
    least = torch.cat([result.pred_instances.scores for result in plain]).topk(10).values[-1]
    for result in plain:
        result.pred_instances = result.pred_instances[result.pred_instances.scores >= least]
    metric = InstanceMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = ScenesInsSegDataset.METAINFO
    for truth, result in zip(plain, mixed, strict=True):
        metric.process(None, [dict(result.to_dict(), instances=as_truth(truth))])
    scores = metric.evaluate(len(mixed))
    for what in ('bbox', 'segm'):
        assert scores[f'coco/{what}_mAP_50'] > 0.9
        assert scores[f'coco/{what}_mAP'] > 0.8
