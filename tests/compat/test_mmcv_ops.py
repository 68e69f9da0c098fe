"""The stand-in for mmcv's compiled ops, against definitions written here and torchvision."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from mmengine.utils.dl_utils import collect_env

from rs4d.compat import MissingMMCVOpError, ensure_mmcv_ops
from rs4d.compat.mmcv_ops import TorchvisionOps

stand_in_only = pytest.mark.skipif(
    ensure_mmcv_ops() == 'compiled', reason="mmcv's compiled ops are installed"
)


def greedy_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: int) -> list[int]:
    """Take the best box, drop what overlaps it, and so on."""
    keep: list[int] = []
    area = (boxes[:, 2:] - boxes[:, :2] + offset).prod(axis=1)
    for i in np.argsort(-scores, kind='stable'):
        for j in keep:
            sides = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            overlap = np.clip(sides + offset, 0, None).prod()
            if overlap / (area[i] + area[j] - overlap) > threshold:
                break
        else:
            keep.append(int(i))
    return keep


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_agrees_with_the_greedy_definition(offset: int) -> None:
    from mmcv.ops import nms

    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (60, 2))
    boxes = np.hstack([corner, corner + rng.uniform(4, 20, (60, 2))]).astype(np.float32)
    scores = rng.permutation(60).astype(np.float32) / 60
    _, keep = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4, offset=offset)
    assert keep.tolist() == greedy_nms(boxes.astype(float), scores, 0.4, offset)


def test_batched_nms_keeps_classes_apart() -> None:
    from mmcv.ops import batched_nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [0, 0, 10, 10]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    _, keep = batched_nms(
        boxes, scores, torch.tensor([0, 0, 1]), dict(type='nms', iou_threshold=0.5)
    )
    assert keep.tolist() == [0, 2]


def test_roi_align_of_a_plane_samples_its_centres() -> None:
    """Bilinear sampling of x + 100 y is exact, so every bin is the value at its centre."""
    from mmcv.ops import RoIAlign

    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing='ij')
    plane = (x + 100 * y)[None, None]
    rois = torch.tensor([[0.0, 4.0, 8.0, 20.0, 24.0]])
    out = RoIAlign(4, spatial_scale=0.5, sampling_ratio=2, aligned=True)(plane, rois)
    # Side 8 on the map, bins of 2; half a pixel off because pixels are areas.
    centre_x = 2 + 2 * torch.arange(4.0) + 1 - 0.5
    centre_y = 4 + 2 * torch.arange(4.0) + 1 - 0.5
    torch.testing.assert_close(out[0, 0], centre_x[None] + 100 * centre_y[:, None])


def test_roi_align_gradient() -> None:
    from mmcv.ops import RoIAlign

    features = torch.rand(2, 3, 8, 8, requires_grad=True)
    rois = torch.tensor([[0.0, 0, 0, 12, 9], [1, 3, 2, 15, 15]])
    layer = RoIAlign(3, spatial_scale=0.5, sampling_ratio=0, aligned=True)
    weight = torch.rand(2, 3, 3, 3)
    (layer(features, rois) * weight).sum().backward()
    # The op is linear in the features: its gradient dotted with them is the output dotted with weight.
    torch.testing.assert_close(
        (features.grad * features).sum(), (layer(features, rois) * weight).sum()
    )


@stand_in_only
def test_missing_op_names_itself_and_the_remedy() -> None:
    from mmcv.ops import RoIPool

    with pytest.raises(MissingMMCVOpError, match=r'roi_pool_forward.*MMCV_WITH_OPS=1'):
        RoIPool(2)(torch.rand(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]))


@stand_in_only
def test_maximum_roi_align_is_refused() -> None:
    from mmcv.ops import RoIAlign

    with pytest.raises(MissingMMCVOpError, match='max'):
        RoIAlign(2, pool_mode='max')(torch.rand(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]))


@stand_in_only
def test_mmengine_can_collect_its_environment() -> None:
    assert importlib.util.find_spec('mmcv._ext') is not None
    assert 'PyTorch' in collect_env()


def test_compiled_ops_win(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = type(sys)('mmcv._ext')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', compiled)
    assert ensure_mmcv_ops() == 'compiled'
    assert sys.modules['mmcv._ext'] is compiled
    assert not isinstance(compiled, TorchvisionOps)


@stand_in_only
def test_double_call_keeps_the_module() -> None:
    before = sys.modules['mmcv._ext']
    assert ensure_mmcv_ops() == 'torchvision'
    assert sys.modules['mmcv._ext'] is before
