"""Small images are enlarged with their boxes and masks; others stay as they are."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from rs4d.visualization import LegibleVisualizer

COLOUR = (255, 0, 0)


@pytest.fixture
def sample() -> DetDataSample:
    """One square, found and true, at the same place."""
    mask = np.zeros((1, 40, 60), np.uint8)
    mask[:, 10:30, 20:50] = 1
    place = dict(bboxes=torch.tensor([[20.0, 10, 50, 30]]), labels=torch.tensor([0]))
    found = InstanceData(**place, masks=torch.from_numpy(mask).bool(), scores=torch.ones(1))
    truth = InstanceData(**place, masks=BitmapMasks(mask, 40, 60))
    return DetDataSample(pred_instances=found, gt_instances=truth)


@pytest.mark.parametrize(('side', 'factor'), [(30, 1), (40, 1), (50, 2), (120, 3)])
def test_size_and_place(sample: DetDataSample, tmp_path: Path, side: int, factor: int) -> None:
    visualizer = LegibleVisualizer(min_side=side)
    visualizer.dataset_meta = dict(classes=('',), palette=[COLOUR])
    out = tmp_path / 'picture.png'
    image = np.zeros((40, 60, 3), np.uint8)
    visualizer.add_datasample('a', image, sample, out_file=str(out), draw_gt=True)
    picture = cv2.imread(str(out))
    assert picture.shape == (40 * factor, 2 * 60 * factor, 3)
    for half in np.split(picture, 2, axis=1):
        coloured = half[..., 2] > 40
        inside = np.zeros_like(coloured)
        inside[10 * factor : 30 * factor, 20 * factor : 50 * factor] = True
        assert coloured[inside].mean() > 0.6  # and a label hides some of it
        assert coloured[~inside].mean() < 0.2  # lines are wider than the mask
    assert sample.pred_instances.masks.shape == (1, 40, 60)
    assert sample.gt_instances.bboxes.tolist() == [[20, 10, 50, 30]]
