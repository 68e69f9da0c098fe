"""RSMamba against the same model made of Hugging Face's MambaMixer, and its options one by one."""

from collections.abc import Callable

import pytest
import torch
from mmdet.registry import MODELS
from timm.layers import resample_abs_pos_embed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rs4d.analysis.benchmark import HuggingFaceRSMamba
from rs4d.models.backbones import RSMamba
from rs4d.models.backbones.rsmamba import resize_pos_embed

TINY = dict(embed_dims=32, num_layers=4, inner_dims=48, d_state=8, dt_rank=4)


def build(**kwargs: object) -> RSMamba:
    torch.manual_seed(0)
    model = MODELS.build(dict(type='RSMamba', arch=TINY, img_size=64) | kwargs)
    model.init_weights()
    return model


@pytest.mark.parametrize('arch', [TINY, 'small'], ids=['tiny', 'small'])
def test_agrees_with_hugging_face(arch: str | dict[str, int]) -> None:
    ours = build(arch=arch).eval()
    with torch.no_grad():
        for p in ours.parameters():  # biases and norms too must be seen in the output
            p.add_(0.02 * torch.randn_like(p))
        img = torch.randn(2, 3, 64, 64)
        (expected,) = HuggingFaceRSMamba(ours).eval()(img)
        (got,) = ours(img)
    error = (got - expected).norm() / expected.norm()
    assert error < 1e-4, error


@pytest.mark.parametrize(
    ('arch', 'blocks', 'millions'),
    [('small', 16, 8.25), ('base', 24, 11.76), ('large', 28, 16.57), ('huge', 32, 18.76)],
)
def test_sizes(arch: str, blocks: int, millions: float) -> None:
    model = RSMamba(arch)
    assert len(model.layers) == blocks
    assert model.out_indices == (blocks - 1,)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize('size', [(64, 64), (32, 80), (16, 16), (96, 48)])
def test_any_multiple_of_16(size: tuple[int, int]) -> None:
    model = build(out_indices=(1, 3))
    maps = model(torch.randn(2, 3, *size))
    assert [m.shape for m in maps] == [(2, 32, size[0] // 16, size[1] // 16)] * 2


@pytest.mark.parametrize('size', [(63, 64), (64, 72)])
def test_other_sides_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r'multiples of 16.*pad_size_divisor=16'):
        build()(torch.randn(1, 3, *size))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='giant'), 'small, base, large, huge'),
        (dict(arch=dict(embed_dims=32)), 'num_layers'),
        (dict(out_indices=(4,)), r'out_indices=\(4,\).*from 0 to 3'),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_every_parameter_gets_a_gradient() -> None:
    model = build().train()
    model(torch.randn(1, 3, 64, 64))[-1].square().mean().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_blocks_behind_the_last_index_are_neither_run_nor_trained() -> None:
    model = build(out_indices=(1,)).train()
    model(torch.randn(1, 3, 64, 64))[-1].sum().backward()
    idle = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert idle == {
        n for n, _ in model.named_parameters() if n.startswith(('layers.2', 'layers.3', 'ln1'))
    }
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_second_initialisation_keeps_what_was_loaded() -> None:
    source, model = build(), build()
    model.load_state_dict(source.state_dict())
    model.init_weights()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize('with_grad', [True, False])
def test_maps_of_any_block_that_is_run(with_grad: bool) -> None:
    model, every = build(out_indices=(1, 2)).eval(), build(out_indices=(0, 1, 2, 3)).eval()
    every.load_state_dict(model.state_dict())
    img = torch.randn(1, 3, 64, 64)
    with torch.set_grad_enabled(with_grad):
        embedding, maps = model.forward_intermediates(img, (0, 1))
        expected = every(img)
    torch.testing.assert_close(embedding, expected[2])
    torch.testing.assert_close(maps, list(expected[:2]))
    assert model.map_channels == (32, 32)
    assert model.map_strides == (16, 16)
    assert (model.embed_dims, model.patch_size, len(model.block_channels)) == (32, 16, 3)


def test_checkpointing_changes_nothing() -> None:
    img = torch.randn(1, 3, 64, 64)
    gradients = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp).train()
        model(img)[-1].square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for name, plain in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], plain, msg=name)


@pytest.mark.parametrize(
    'rename', [lambda k: k, lambda k: f'module.{k}'], ids=['plain', 'data-parallel']
)
def test_checkpoints_load_as_backbone_of_a_detector(rename: Callable[[str], str]) -> None:
    source = build()
    state = {f'backbone.{rename(k)}': v for k, v in source.state_dict().items()}
    holder = nn.ModuleDict(dict(backbone=RSMamba(TINY, img_size=64)))
    holder.load_state_dict(state, strict=True)
    for name, value in holder['backbone'].state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name])


def test_position_embedding_of_another_size_is_interpolated() -> None:
    source, target = build(img_size=64), build(img_size=(96, 32))
    target.load_state_dict(source.state_dict())
    expected = resize_pos_embed(source.pos_embed, (4, 4), (6, 2))
    torch.testing.assert_close(target.pos_embed.detach(), expected.detach())


def test_position_embedding_is_resampled_as_timm_does() -> None:
    pos_embed = torch.randn(1, 64, 8)
    expected = resample_abs_pos_embed(pos_embed, [5, 12], [8, 8], 0, antialias=False)
    torch.testing.assert_close(resize_pos_embed(pos_embed, (8, 8), (5, 12)), expected)


def test_another_width_does_not_load() -> None:
    wide = build(arch=TINY | dict(embed_dims=64))
    with pytest.raises(RuntimeError, match='size mismatch'):
        build().load_state_dict(wide.state_dict())


@pytest.mark.parametrize('out_indices', [-1, (0, 1, 2, 3), (1, 2)])
def test_shared_memory_changes_nothing(out_indices: tuple[int, ...] | int) -> None:
    """Without gradients the blocks write into one workspace; maps already returned stay."""
    model = build(out_indices=out_indices).eval()
    img = torch.randn(2, 3, 64, 48)
    expected = model(img)
    with torch.no_grad():
        got = model(img)
    assert len(got) == len(expected)
    for ours, plain in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, plain.detach(), rtol=1e-5, atol=1e-5)


def test_hooks_see_every_module_without_gradients() -> None:
    model = build().eval()
    seen = []
    for layer in model.layers:
        layer.in_proj.register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        model(torch.randn(1, 3, 32, 32))
    assert len(seen) == len(model.layers)


def test_counters_see_every_product_without_gradients() -> None:
    """PyTorch's own counter knows products that return a tensor, not those into given memory."""
    model, img = build().eval(), torch.randn(1, 3, 32, 32)
    with FlopCounterMode(display=False) as expected:
        model(img)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        model(img)
    assert counted.get_total_flops() == expected.get_total_flops() > 0
