"""The whole mixer in memory of the `cpu` engine: where it runs, and that it computes the same."""

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from rs4d.models.backbones.mamba_mixer import BidirectionalMambaMixer
from rs4d.ops import (
    Workspace,
    available_engines,
    bidirectional_selective_scan,
    inference_mixer,
    use_engine,
)
from rs4d.ops.cpu.mixer import token_product
from rs4d.ops.cpu.scan import scan_into

needs_kernels = pytest.mark.skipif(
    not available_engines()['cpu'].available, reason='the C++ kernels are not built'
)


def build(**kwargs: int) -> BidirectionalMambaMixer:
    torch.manual_seed(0)
    return BidirectionalMambaMixer(12, 20, **kwargs)


@needs_kernels
@pytest.mark.parametrize('shape', [(1, 1), (2, 63), (1, 2050)], ids=str)
def test_same_as_the_definition(shape: tuple[int, int]) -> None:
    """The workspace holds what another mixer left, of this size and of another."""
    mixer, workspace = build(d_state=5, d_conv=3, dt_rank=3), Workspace()
    x = torch.randn(*shape, 12)
    kept = x.clone()
    with torch.no_grad():
        build()(torch.randn(1, 7, 12), workspace)
        mixer(torch.randn_like(x), workspace)
        got = mixer(x, workspace)
        mixer(torch.randn_like(x), workspace)
        with use_engine('reference'):
            expected = mixer.double()(x.double())
    assert torch.equal(x, kept)
    assert (got - expected).norm() < 1e-5 * expected.norm()


@needs_kernels
def test_half_precision_parameters_of_the_scan_are_converted() -> None:
    mixer, x = build(), torch.randn(1, 30, 12)
    mixer.D.data, mixer.A_log.data = mixer.D.data.bfloat16(), mixer.A_log.data.bfloat16()
    with torch.no_grad():
        got = mixer(x)
        with use_engine('chunked'):
            torch.testing.assert_close(got, mixer(x))


@needs_kernels
@pytest.mark.parametrize('autocast', [False, True])
def test_bfloat16_all_the_way(autocast: bool) -> None:
    """In memory and with gradients, and all that leaves or enters a kernel is bfloat16."""
    mixer, x = build(), torch.randn(2, 70, 12)
    with use_engine('reference'):
        expected = build().double()(x.double())
    if not autocast:
        mixer, x = mixer.bfloat16(), x.bfloat16()
    with torch.autocast('cpu', enabled=autocast):
        with torch.no_grad():
            mixed = mixer(x)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
            trained = mixer(x)
            trained.sum().backward()
    for got in (mixed, trained):
        assert got.dtype == torch.bfloat16
        assert (got - expected).norm() < 1.5e-2 * expected.norm()
    cast = [x.input_shapes[0] for x in seen.events() if x.name == 'aten::_to_copy']
    # A token's channels, once in and once out; else only parameters and sums over channels.
    assert not [shape for shape in cast if shape[-1:] == [20] and len(shape) > 2]


@needs_kernels
def test_runs_only_where_nobody_can_tell() -> None:
    x = torch.randn(1, 4, 8)
    assert inference_mixer(x) is None, 'gradients may flow'
    with torch.no_grad():
        assert inference_mixer(x) is not None
        assert inference_mixer(x.double()) is None
        assert inference_mixer(x[:0]) is None
        assert inference_mixer(x.to('meta')) is None
        assert inference_mixer(x.half()) is None
        with torch.autocast('cpu'):
            assert inference_mixer(x) is not None
        with torch.autocast('cpu', torch.float16):
            assert inference_mixer(x) is None
        with use_engine('chunked'):
            assert inference_mixer(x) is None


@needs_kernels
def test_replaced_projections_are_called() -> None:
    class Adapted(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    mixer, x = build(), torch.randn(1, 30, 12)
    adapted = Adapted(20, 12, bias=False)
    adapted.load_state_dict(mixer.out_proj.state_dict())
    with torch.no_grad():
        before = mixer(x)
        mixer.out_proj = adapted
        torch.testing.assert_close(mixer(x), before + 1)


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
@pytest.mark.parametrize('with_memory', [False, True])
def test_product(rows: int, channels: int, outputs: int, with_memory: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, channels), torch.randn(outputs, channels)
    memory = torch.full((rows, outputs), torch.nan) if with_memory else None
    exact = x.double() @ weight.double().t()
    with torch.no_grad():
        result = token_product(x, weight, memory)
    assert result.shape == (rows, outputs)
    assert result.stride(1) == 1 or outputs == 1
    assert (result - exact).norm() < 1e-6 * exact.norm()


def test_large_results_go_into_the_memory_given() -> None:
    """A fresh map of that size would be faulted in page by page."""
    x, weight = torch.randn(1 << 14, 4), torch.randn(512, 4)
    memory = torch.empty(1 << 14, 512)
    with torch.no_grad():
        assert token_product(x, weight, memory).data_ptr() == memory.data_ptr()
