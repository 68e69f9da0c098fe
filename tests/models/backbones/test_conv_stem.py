"""RSMamba behind a convolutional stem."""

import pytest
import torch

from rs4d.errors import ConfigError
from rs4d.models.backbones import RSMamba
from rs4d.models.backbones.conv_stem import ConvStem

TINY = dict(embed_dims=32, num_layers=3, inner_dims=48, d_state=8, dt_rank=4)


def build(**kwargs: object) -> RSMamba:
    torch.manual_seed(0)
    model = RSMamba(arch=TINY, img_size=64, stem_channels=(8, 12, 16), **kwargs)
    model.init_weights()
    return model


def test_maps_of_the_stem_come_before_those_of_the_blocks() -> None:
    model = build(out_indices=(0, 2))
    maps = model(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(model.map_channels, model.map_strides, strict=True)
    ]
    assert model.map_strides == (4, 8, 16, 16)
    last, chosen = model.forward_intermediates(torch.randn(1, 3, 64, 64), (1,))
    assert tuple(last.shape) == tuple(chosen[0].shape) == (1, 32, 4, 4)


def test_every_parameter_gets_a_gradient() -> None:
    model = build().train()
    sum(x.square().mean() for x in model(torch.randn(2, 3, 64, 64))).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_maps_lie_where_the_image_does() -> None:
    """An image moved by a token's side moves each map by as many cells."""
    stem = ConvStem(3, (8, 12, 16), 32).eval()
    image = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        maps, tokens = stem(image)
        moved_maps, moved_tokens = stem(image.roll((16, 16), (2, 3)))
    for x, moved in zip((*maps, tokens), (*moved_maps, moved_tokens), strict=True):
        cells = 16 * x.shape[-1] // 160
        inside = slice(4 * cells, -4 * cells)
        torch.testing.assert_close(
            moved[..., inside, inside], x.roll((cells, cells), (2, 3))[..., inside, inside]
        )


def test_a_stem_of_another_depth_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'3 stem_channels make tokens of 16.*patch_size is 8'):
        build(patch_size=8)
