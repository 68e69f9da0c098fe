"""The whole mixer in memory of the `cpu` engine: where it runs, and that it computes the same."""

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from rs4d.models.backbones.mamba_mixer import BidirectionalMambaMixer
from rs4d.ops import (
    Workspace,
    available_engines,
    bidirectional_selective_scan,
    in_place_mixer,
    use_engine,
)
from rs4d.ops.cpu import mixer as cpu_mixer
from rs4d.ops.cpu.scan import scan_into

needs_kernels = pytest.mark.skipif(
    not available_engines()['cpu'].available, reason='the C++ kernels are not built'
)


def build(**kwargs: int) -> BidirectionalMambaMixer:
    torch.manual_seed(0)
    return BidirectionalMambaMixer(12, 20, **kwargs)


def mixed(mixer: BidirectionalMambaMixer, x: Tensor, norm: nn.Module | None = None) -> Tensor:
    """Mix in place of a copy, without gradients."""
    x = x.clone()
    with torch.no_grad():
        assert mixer.add_in_place(x, norm or nn.LayerNorm(x.shape[-1]), Workspace())
    return x


@needs_kernels
@pytest.mark.parametrize('shape', [(1, 1), (2, 63), (7, 20), (2, 64), (2, 65), (1, 203)], ids=str)
def test_same_as_the_definition(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    """In spans of 64 tokens; the workspace holds what other mixers left."""
    monkeypatch.setattr(cpu_mixer, '_SPAN', 64)
    mixer, norm, workspace = build(d_state=5, d_conv=3, dt_rank=3), nn.LayerNorm(12), Workspace()
    nn.init.normal_(norm.weight)
    x = torch.randn(*shape, 12)
    got = x.clone()
    with torch.no_grad():
        assert build().add_in_place(torch.randn(1, 7, 12), norm, workspace)
        assert mixer.add_in_place(torch.randn_like(x), norm, workspace)
        assert mixer.add_in_place(got, norm, workspace)
        with use_engine('reference'):
            expected = x.double() + mixer.double()(norm.double()(x.double()))
    assert (got - expected).norm() < 1e-6 * expected.norm()


@needs_kernels
def test_half_precision_parameters_of_the_scan_are_converted() -> None:
    mixer, x = build(), torch.randn(1, 30, 12)
    mixer.D.data, mixer.A_log.data = mixer.D.data.bfloat16(), mixer.A_log.data.bfloat16()
    got = mixed(mixer, x)
    with torch.no_grad(), use_engine('chunked'):
        torch.testing.assert_close(got, x + mixer(nn.LayerNorm(12)(x)))


@needs_kernels
@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_all_the_way(dtype: torch.dtype, autocast: bool) -> None:
    """In place and with gradients, and all that leaves or enters a kernel is in half precision."""
    mixer, x = build(), torch.randn(2, 70, 12)
    norm = nn.LayerNorm(12)
    with use_engine('reference'):
        expected = build().double()(x.double())
        normed = build().double()(norm.double()(x.double()))
    norm = norm.float()
    if not autocast:
        mixer, x, norm = mixer.to(dtype), x.to(dtype), norm.to(dtype)
    # float16 has 3 more bits.
    exactness = 1 if dtype == torch.bfloat16 else 1 / 8
    with torch.autocast('cpu', dtype, enabled=autocast):
        in_place = mixed(mixer, x, norm)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
            trained = mixer(x)
            trained.sum().backward()
    assert in_place.dtype == x.dtype
    tolerance = exactness * (4e-3 if autocast else 1.5e-2)
    assert (in_place - (x + normed)).norm() < tolerance * (x + normed).norm()
    assert trained.dtype == dtype
    assert (trained - expected).norm() < exactness * 1.5e-2 * expected.norm()
    cast = [x.input_shapes[0] for x in seen.events() if x.name == 'aten::_to_copy']
    # A token's channels, once in and once out; else only parameters and sums over channels.
    assert not [shape for shape in cast if shape[-1:] == [20] and len(shape) > 2]


@needs_kernels
def test_runs_only_where_nobody_can_tell() -> None:
    x = torch.randn(1, 4, 8)
    assert in_place_mixer(x) is None, 'gradients may flow'
    with torch.no_grad():
        assert in_place_mixer(x) is not None
        assert in_place_mixer(x.double()) is None
        assert in_place_mixer(x[:0]) is None
        assert in_place_mixer(x.transpose(1, 2)) is None
        assert in_place_mixer(x.to('meta')) is None
        assert in_place_mixer(x.half()) is not None
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast('cpu', dtype):
                assert in_place_mixer(x) is not None
        with use_engine('chunked'):
            assert in_place_mixer(x) is None


@needs_kernels
def test_replaced_projections_are_called() -> None:
    class Adapted(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    mixer, x, norm = build(), torch.randn(1, 30, 12), nn.LayerNorm(12)
    mixer.out_proj = Adapted(20, 12, bias=False)
    with torch.no_grad():
        assert not mixer.add_in_place(x, norm, Workspace())


@needs_kernels
def test_hooks_are_called() -> None:
    x, norm = torch.randn(1, 30, 12), nn.LayerNorm(12)
    for hooked in ('norm', '', 'conv1d'):
        mixer, norm = build(), nn.LayerNorm(12)
        module = norm if hooked == 'norm' else mixer.get_submodule(hooked)
        module.register_forward_hook(lambda *_: None)
        with torch.no_grad():
            assert not mixer.add_in_place(x, norm, Workspace()), hooked


@needs_kernels
@pytest.mark.parametrize('rank', [1, 3, 16])
@pytest.mark.parametrize('shape', [(1, 1, 3), (2, 63, 37), (1, 200, 64)], ids=str)
def test_scan_in_place_with_a_bottleneck(shape: tuple[int, int, int], rank: int) -> None:
    """The result may replace an input, and delta may come as a product that the kernel takes."""
    torch.manual_seed(rank)
    *rows, channels = shape
    u, z = torch.randn(2, *shape), torch.randn(shape)
    weight, A, D = torch.randn(channels, rank), -torch.rand(channels, 6), torch.randn(channels)
    # Slices of a wider projection, as in a mixer.
    narrow, B, C = torch.randn(2, *rows, rank + 12).split([rank, 6, 6], dim=-1)
    rest = (A, B, C, D, torch.randn(channels), z)
    exact = (x.double() for x in (u, narrow @ weight.t(), *rest))
    expected = bidirectional_selective_scan(*exact, engine='reference')
    scan_into(u[0], u, narrow, *rest, delta_weight=weight)
    assert (u[0] - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize(
    ('rows', 'channels', 'outputs'),
    [(4096, 32, 48), (1024, 7, 5), (2050, 16, 1), (1031, 16, 8), (100, 16, 8), (1, 3, 2)],
)
@pytest.mark.parametrize('convolves', [False, True])
def test_product(
    monkeypatch: pytest.MonkeyPatch, rows: int, channels: int, outputs: int, convolves: bool
) -> None:
    monkeypatch.setattr(cpu_mixer, '_CONVOLVES', convolves)
    torch.manual_seed(0)
    x, weight = torch.randn(rows, channels), torch.randn(outputs, channels)
    exact = x.double() @ weight.double().t()
    with torch.no_grad():
        result = cpu_mixer.token_product(x, weight, torch.full((rows, outputs), torch.nan))
    assert result.shape == (rows, outputs)
    assert result.stride(1) == 1 or outputs == 1
    assert (result - exact).norm() < 1e-6 * exact.norm()


@needs_kernels
def test_the_same_with_products_as_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = build(), torch.randn(1, 1100, 12)
    expected = mixed(mixer, x)
    monkeypatch.setattr(cpu_mixer, '_CONVOLVES', True)
    monkeypatch.setattr(cpu_mixer, '_MIN_ROWS', 1)
    torch.testing.assert_close(mixed(mixer, x), expected)
