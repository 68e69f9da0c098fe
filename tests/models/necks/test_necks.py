"""The aggregator and the pyramids."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS

from rs4d.errors import ConfigError
from rs4d.models.necks import LightFPN, RSFeatureAggregator, SimpleFPN


def test_list_of_necks_builds_the_whole_neck() -> None:
    neck = MODELS.build(
        [
            dict(
                type='RSFeatureAggregator', in_channels=(24, 32), hidden_channels=8, out_channels=16
            ),
            dict(
                type='SimpleFPN',
                in_channels=16,
                out_channels=12,
                out_strides=(4, 8, 16, 32, 64, 128),
            ),
        ]
    )
    maps = [torch.randn(2, c, 6, 4, requires_grad=True) for c in (24, 32)]
    levels = neck(tuple(maps))
    assert [tuple(x.shape) for x in levels] == [
        (2, 12, 24, 16),
        (2, 12, 12, 8),
        (2, 12, 6, 4),
        (2, 12, 3, 2),
        (2, 12, 2, 1),
        (2, 12, 1, 1),
    ]
    sum(x.square().mean() for x in levels[:4]).backward()
    assert not [n for n, p in neck.named_parameters() if p.grad is None]
    assert all(x.grad is not None and x.grad.any() for x in maps)


def test_aggregator_is_residual_and_cumulative() -> None:
    """With the fusing convolutions at zero, what reaches the end is the sum of the reduced maps."""
    neck = RSFeatureAggregator(8, num_inputs=3, hidden_channels=8, out_channels=8).eval()
    seen = []
    neck.out_conv.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for conv in neck.fuse_convs:
            conv.conv.weight.zero_()
        maps = [torch.randn(1, 8, 5, 5) for _ in range(3)]
        neck(maps)
        expected = sum(conv(x) for conv, x in zip(neck.reduce_convs, maps, strict=True))
    torch.testing.assert_close(seen[0], expected)


def test_aggregator_refuses_a_wrong_number_of_maps() -> None:
    neck = RSFeatureAggregator((8, 8))
    with pytest.raises(ValueError, match=r'2 maps and takes \(0,\) of 1 .*out_indices'):
        neck([torch.zeros(1, 8, 2, 2)])
    with pytest.raises(ValueError, match='num_inputs'):
        RSFeatureAggregator(8)


def test_aggregator_takes_the_maps_that_it_is_told() -> None:
    torch.manual_seed(0)
    neck = RSFeatureAggregator((8, 6), in_indices=(2, 0), out_channels=4).eval()
    maps = [torch.randn(1, c, 5, 5) for c in (6, 100, 8, 3)]
    with torch.no_grad():
        fused = neck(maps)
        neck.in_indices = None
        torch.testing.assert_close(fused, neck([maps[2], maps[0]]))
    neck.in_indices = (2, 0)
    with pytest.raises(ConfigError, match=r'takes \(2, 0\) of 2 maps'):
        neck(maps[:2])


@pytest.mark.parametrize('in_stride', [4, 8, 16, 32])
@pytest.mark.parametrize('out_strides', [(4, 8, 16, 32, 64), (8, 16, 32, 64, 128), (2, 8)])
def test_pyramid_has_the_strides_asked_for_from_any_patch_size(
    in_stride: int, out_strides: tuple[int, ...]
) -> None:
    neck = SimpleFPN(16, 8, in_stride=in_stride, out_strides=out_strides)
    side = 128 // in_stride
    levels = neck(torch.randn(1, 16, side, side))
    assert [128 // x.shape[-1] for x in levels] == list(out_strides)


def test_pyramid_of_checkpoints_that_were_told_half_the_stride() -> None:
    """Detectors that begin at stride 8 were trained so; modules and names are the same."""
    neck = SimpleFPN(16, 8, in_stride=16, out_strides=(8, 16, 32, 64, 128))
    former = SimpleFPN(16, 8, in_stride=8)
    former.load_state_dict(neck.state_dict())
    x = torch.randn(1, 16, 16, 16)
    for ours, theirs in zip(neck(x), former(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(in_channels=18),
        dict(in_stride=7),
        dict(out_strides=()),
        dict(out_strides=(8, 4)),
        dict(out_strides=(4, 12)),
    ],
)
def test_pyramid_refuses_what_it_cannot_make(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match='SimpleFPN'):
        SimpleFPN(**kwargs)


def test_light_pyramid_of_several_strides_is_a_feature_pyramid() -> None:
    """Lateral convolutions, the coarser level added at twice its size, then each level's own one."""
    torch.manual_seed(0)
    neck = LightFPN((6, 8, 10), (4, 8, 16), out_channels=12, out_strides=(4, 8, 16, 32)).eval()
    maps = [torch.randn(2, c, 32 // s, 64 // s) for c, s in ((6, 4), (8, 8), (10, 16))]
    with torch.no_grad():
        levels = neck(maps)
        fine, middle, coarse = (conv(x) for conv, x in zip(neck.laterals, maps, strict=True))
        middle = middle + F.interpolate(coarse, size=middle.shape[-2:], mode='nearest')
        fine = fine + F.interpolate(middle, size=fine.shape[-2:], mode='nearest')
        expected = [level(x) for level, x in zip(neck.levels, (fine, middle, coarse), strict=False)]
        expected.append(neck.levels[3](expected[-1]))
    assert [tuple(x.shape) for x in levels] == [(2, 12, 32 // s, 64 // s) for s in (4, 8, 16, 32)]
    for level, wanted in zip(levels, expected, strict=True):
        torch.testing.assert_close(level, wanted)


def test_light_pyramid_of_one_map_lays_the_cells_of_a_token_side_by_side() -> None:
    neck = LightFPN(8, 16, out_channels=12, out_strides=(4, 8, 16, 32))
    x = torch.randn(2, 8, 4, 6, requires_grad=True)
    levels = neck([x])
    assert [tuple(level.shape[-2:]) for level in levels] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    with torch.no_grad():
        convolution = neck.splits['8'][0](x).unflatten(1, (12, 2, 2))
        cells = neck.splits['8'](x)
    torch.testing.assert_close(cells[:, :, 1::2, ::2], convolution[:, :, 1, 0])
    sum(level.square().mean() for level in levels).backward()
    assert not [n for n, p in neck.named_parameters() if p.grad is None]
    assert x.grad is not None
    assert x.grad.any()


@pytest.mark.parametrize(
    'arguments',
    [
        dict(in_channels=(8, 8), in_strides=(8,)),
        dict(in_channels=(8,), in_strides=(12,)),
        dict(in_channels=(8,), in_strides=(64,)),
        dict(in_channels=(8,), in_strides=(8,), out_strides=(4, 16)),
    ],
)
def test_light_pyramid_refuses_strides_that_do_not_fit(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match='LightFPN: in_channels'):
        LightFPN(**arguments)
