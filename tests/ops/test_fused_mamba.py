"""The fused kernels of the mixer against their plain definitions in float64."""

import pytest
import torch
from torch import Tensor

from rs4d.ops import (
    available_engines,
    bidirectional_conv_silu,
    bidirectional_selective_scan,
    cpu_kernels,
    use_engine,
)
from rs4d.ops.fused_mamba import bidirectional_scan_definition, conv_silu_definition
from rs4d.ops.fused_scan_cpu import scan_into

ENGINES = [name for name in ('cpu', 'chunked') if available_engines()[name].available]
SHAPES = [(1, 1, 3), (2, 63, 37), (1, 200, 64), (2, 130, 16)]


def scan_inputs(batch: int, length: int, channels: int, states: int = 16) -> list[Tensor]:
    """Draw the arguments as a mixer makes them: slices of projections, not contiguous."""
    torch.manual_seed(length)
    u = [torch.randn(batch, length, channels) for _ in range(2)]
    delta = [torch.randn(batch, length, channels) for _ in range(2)]
    projections = [torch.randn(batch, length, 4 + 2 * states) for _ in range(2)]
    B_C = [p.split([4, states, states], dim=-1)[1:] for p in projections]
    A = -torch.rand(channels, states) * states
    D, delta_bias = torch.randn(channels), torch.randn(channels) - 3
    z = torch.randn(batch, length, 2 * channels).chunk(2, dim=-1)[1]
    return [*u, *delta, A, *B_C[0], *B_C[1], D, delta_bias, z]


def conv_inputs(batch: int, length: int, channels: int, taps: int = 4) -> list[Tensor]:
    torch.manual_seed(length)
    x = torch.randn(batch, length, 2 * channels).chunk(2, dim=-1)[0]
    return [x, torch.randn(channels, taps), torch.randn(channels)]


def assert_matches(function, definition, tensors: list[Tensor]) -> None:
    ours = [x.detach().requires_grad_() for x in tensors]
    exact = [x.detach().double().requires_grad_() for x in tensors]
    got, expected = function(*ours), definition(*exact)
    got, expected = (x if isinstance(x, tuple) else (x,) for x in (got, expected))
    weights = [torch.randn_like(x) for x in got]
    value = sum((x * w).sum() for x, w in zip(got, weights, strict=True))
    exact_value = sum((x * w.double()).sum() for x, w in zip(expected, weights, strict=True))
    for x, y in zip(got, expected, strict=True):
        assert (x - y).norm() < 1e-5 * y.norm()
    gradients = torch.autograd.grad(value, ours)
    exact_gradients = torch.autograd.grad(exact_value, exact)
    for i, (x, y) in enumerate(zip(gradients, exact_gradients, strict=True)):
        assert torch.isfinite(x).all(), i
        assert (x - y).norm() < 1e-4 * y.norm() + 1e-9, i


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('engine', ENGINES)
def test_scan(engine: str, shape: tuple[int, int, int]) -> None:
    with use_engine(engine):
        assert_matches(
            bidirectional_selective_scan,
            lambda *args: bidirectional_scan_definition(*args, engine='reference'),
            scan_inputs(*shape),
        )


@pytest.mark.skipif('cpu' not in ENGINES, reason='the CPU kernels are not built')
@pytest.mark.parametrize('rank', [1, 3, 16])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_scan_in_place_with_a_bottleneck(shape: tuple[int, int, int], rank: int) -> None:
    """The result may replace an input, and delta may come as a product that the kernel takes."""
    u_f, u_b, _, _, *rest = scan_inputs(*shape)
    weight = torch.randn(shape[2], rank)
    # Slices of a wider projection, as in a mixer.
    narrow = [torch.randn(*shape[:2], rank + 5)[..., :rank] for _ in range(2)]
    deltas = [(x @ weight.t()).double() for x in narrow]
    expected = bidirectional_scan_definition(
        u_f.double(), u_b.double(), *deltas, *(x.double() for x in rest), engine='reference'
    )
    scan_into(u_f, u_f, u_b, *narrow, *rest, delta_weight=weight)
    assert (u_f - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize('taps', [1, 2, 4, 7])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('engine', ENGINES)
def test_convolution(engine: str, shape: tuple[int, int, int], taps: int) -> None:
    with use_engine(engine):
        assert_matches(
            bidirectional_conv_silu, conv_silu_definition, conv_inputs(*shape, taps=taps)
        )


def test_backward_convolution_is_the_flip_of_the_forward_one() -> None:
    x, weight, bias = conv_inputs(1, 40, 6)
    _, backward = bidirectional_conv_silu(x, weight, bias)
    forward, _ = bidirectional_conv_silu(x.flip(1), weight, bias)
    torch.testing.assert_close(backward, forward.flip(1))


@pytest.mark.parametrize('engine', ENGINES)
def test_convolution_without_bias(engine: str) -> None:
    with use_engine(engine):
        assert_matches(bidirectional_conv_silu, conv_silu_definition, conv_inputs(2, 30, 5)[:2])


@pytest.mark.parametrize('engine', ENGINES)
def test_half_precision_is_rounded_only_at_the_edge(engine: str) -> None:
    low = [x.bfloat16() for x in scan_inputs(1, 50, 8)]
    with use_engine(engine):
        got = bidirectional_selective_scan(*low)
        expected = bidirectional_selective_scan(*(x.float() for x in low))
        conv = [x.bfloat16() for x in conv_inputs(1, 50, 8)]
        got_conv = bidirectional_conv_silu(*conv)
        expected_conv = bidirectional_conv_silu(*(x.float() for x in conv))
    torch.testing.assert_close(got, expected.bfloat16(), rtol=0, atol=0)
    for x, y in zip(got_conv, expected_conv, strict=True):
        torch.testing.assert_close(x, y.bfloat16(), rtol=0, atol=0)


@pytest.mark.skipif('cpu' not in ENGINES, reason='the C++ kernels are not built')
class TestKernels:
    def test_registration_holds_what_pytorch_asks_of_an_op(self) -> None:
        scan = [x.requires_grad_() for x in scan_inputs(1, 9, 5, 3)]
        for keep_boundaries in (True, False):
            torch.library.opcheck(
                torch.ops.rs4d.bidirectional_scan_cpu.default, (*scan, keep_boundaries)
            )
        conv = [x.requires_grad_() for x in conv_inputs(1, 9, 5)]
        for args in (conv, [*conv[:2], None]):
            torch.library.opcheck(torch.ops.rs4d.bidirectional_conv_silu_cpu.default, tuple(args))

    def test_compiles_without_a_break(self) -> None:
        tensors = scan_inputs(1, 20, 8)
        compiled = torch.compile(bidirectional_selective_scan, fullgraph=True, backend='aot_eager')
        torch.testing.assert_close(compiled(*tensors), bidirectional_selective_scan(*tensors))

    def test_same_result_for_any_number_of_threads(self) -> None:
        threads = torch.get_num_threads()
        scan, conv = scan_inputs(2, 300, 80), conv_inputs(2, 300, 80)
        results = []
        try:
            for number in (1, 2, 3):
                torch.set_num_threads(number)
                results.append(
                    (bidirectional_selective_scan(*scan), *bidirectional_conv_silu(*conv))
                )
        finally:
            torch.set_num_threads(threads)
        for result in results[1:]:
            for x, y in zip(result, results[0], strict=True):
                assert torch.equal(x, y)

    def test_same_gradients_for_the_same_number_of_threads(self) -> None:
        def gradients() -> tuple[Tensor, ...]:
            tensors = [x.detach().requires_grad_() for x in scan_inputs(2, 300, 80)]
            return torch.autograd.grad(bidirectional_selective_scan(*tensors).sum(), tensors)

        for x, y in zip(gradients(), gradients(), strict=True):
            assert torch.equal(x, y)

    def test_states_that_were_kept_are_those_computed_again(self) -> None:
        gradients = []
        for keep_boundaries in (True, False):
            tensors = [x.detach().requires_grad_() for x in scan_inputs(2, 300, 80)]
            y, kept = torch.ops.rs4d.bidirectional_scan_cpu(*tensors, keep_boundaries)
            assert bool(kept.numel()) == keep_boundaries
            gradients.append(torch.autograd.grad(y.square().sum(), tensors))
        for x, y in zip(*gradients, strict=True):
            assert (x - y).norm() <= 1e-6 * y.norm()

    def test_no_states_are_kept_without_gradients(self) -> None:
        class Seen(torch.utils._python_dispatch.TorchDispatchMode):
            sizes: list[int] = []

            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                if func is torch.ops.rs4d.bidirectional_scan_cpu.default:
                    self.sizes.append(out[1].numel())
                return out

        with Seen() as seen:
            bidirectional_selective_scan(*scan_inputs(1, 70, 8))
            bidirectional_selective_scan(*(x.requires_grad_() for x in scan_inputs(1, 70, 8)))
        assert [bool(size) for size in seen.sizes] == [False, True]

    def test_exponential_throughput_is_that_of_a_machine(self) -> None:
        assert 1e8 < cpu_kernels.exp_throughput(threads=1, rounds=1) < 1e12

    @pytest.mark.parametrize('bad', [float('nan'), float('inf')])
    def test_what_is_not_finite_shows(self, bad: float) -> None:
        tensors = scan_inputs(1, 100, 8)
        tensors[0][0, 50, 3] = bad
        y = bidirectional_selective_scan(*tensors)
        assert not torch.isfinite(y[0, 50:, 3]).any()
        assert torch.isfinite(y[0, :50]).all()
