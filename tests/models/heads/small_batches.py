"""Random objects, and the smallest encoder, for the heads that ask SAM's decoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor, nn


@MODELS.register_module()
class OneConvBackbone(nn.Module):
    """One map of stride 16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 16, stride=16)

    def forward(self, img: Tensor) -> tuple[Tensor]:
        return (self.conv(img),)


def batch(counts: Sequence[int], size: tuple[int, int] = (96, 128), kind: str = 'bitmap') -> dict:
    rng = np.random.default_rng(0)
    height, width = size
    samples = []
    for count in counts:
        corner = rng.uniform(0, (width - 40, height - 40), (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(8, 40, (count, 2))], 1)
        boxes = boxes.astype(np.float32)
        polygons = [[np.array([x, y, u, y, u, v, x, v])] for x, y, u, v in boxes]
        masks: Any = PolygonMasks(polygons, height, width)
        objects = InstanceData(
            bboxes=torch.from_numpy(boxes.reshape(-1, 4)),
            labels=torch.from_numpy(rng.integers(0, 2, count)),
            masks=masks if kind == 'polygon' else masks.to_bitmap(),
        )
        sample = DetDataSample(
            metainfo=dict(
                img_shape=size,
                ori_shape=(height // 2, width // 2),
                scale_factor=(2.0, 2.0),
                batch_input_shape=size,
                pad_shape=size,
            )
        )
        sample.gt_instances = objects
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    return dict(inputs=torch.randn(len(counts), 3, *size), data_samples=samples)
