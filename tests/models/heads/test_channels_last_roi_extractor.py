"""RoI features as sums of rows, against RoIAlign and MMDetection's extractor."""

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor
from torchvision.ops import roi_align

from rs4d.models.heads import ChannelsLastRoIExtractor
from rs4d.models.heads.channels_last_roi_extractor import align


def boxes(count: int, side: float) -> Tensor:
    """Boxes on two images of 128x96 pixels, some over the edge, some outside, some without an area."""
    corner = torch.rand(count, 2) * torch.tensor([140.0, 110]) - 10
    rois = torch.cat(
        [torch.randint(0, 2, (count, 1)), corner, corner + side * torch.rand(count, 2)], 1
    )
    rois[0, 3:] = rois[0, 1:3]
    rois[1, 1:] = torch.tensor([-90.0, -90, -60, -60])
    rois[2, 1:] = torch.tensor([-8.0, 3, 200, 9])
    return rois


@pytest.mark.parametrize('sampling_ratio', [0, 1, 2])
@pytest.mark.parametrize('side', [3, 120])
def test_sums_are_the_aligned_averages(side: float, sampling_ratio: int) -> None:
    torch.manual_seed(0)
    x, rois = torch.randn(2, 5, 24, 32), boxes(40, side)
    expected = roi_align(x, rois, (7, 6), 0.25, sampling_ratio, aligned=True)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        found = align(given, rois, (7, 6), 0.25, sampling_ratio).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def build(kind: str) -> SingleRoIExtractor:
    layer = dict(type='RoIAlign', output_size=7, sampling_ratio=0)
    return MODELS.build(
        dict(type=kind, roi_layer=layer, out_channels=5, featmap_strides=[4, 8], finest_scale=14)
    )


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')  # sizes are constants of a trace
def test_extractor_is_that_of_mmdetection(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 24, 32), torch.randn(2, 5, 12, 16)
    ours, theirs = build('ChannelsLastRoIExtractor'), build('SingleRoIExtractor')
    with torch.no_grad():
        for rois in (boxes(40, 90), boxes(40, 5), boxes(9, 90)[:0]):
            for factor in (None, 1.5):
                expected = theirs(maps, rois.clone(), factor)
                found = ours(maps, rois.clone(), factor)
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        halves = ours(tuple(x.bfloat16() for x in maps), boxes(40, 90))
        assert halves.dtype == torch.bfloat16
        traced = torch.jit.trace(
            lambda *args: ours(args[:2], args[2]), (*maps, boxes(40, 90)), check_trace=False
        )
        rois = boxes(40, 90)
        torch.testing.assert_close(traced(*maps, rois), theirs(maps, rois))
    assert isinstance(ours, ChannelsLastRoIExtractor)


@pytest.mark.parametrize('side', [90, 5])
def test_gradients_are_those_of_mmdetection(side: float) -> None:
    """With small boxes, the coarse level has none: its gradient is there, and 0."""
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 24, 32), torch.randn(2, 5, 12, 16)
    rois = boxes(40, side)[3:]
    weight = torch.randn(len(rois), 5, 7, 7)
    found = []
    for kind in ('ChannelsLastRoIExtractor', 'SingleRoIExtractor'):
        leaves = [x.clone().requires_grad_() for x in maps]
        features = build(kind)(tuple(leaves), rois)
        found.append(torch.autograd.grad((features * weight).sum(), leaves))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert bool(found[0][1].any()) is (side > 5)
