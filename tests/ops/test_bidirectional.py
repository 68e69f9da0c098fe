"""The bidirectional scan and convolution of each engine against the definitions in float64."""

import pytest
import torch
from torch import Tensor

from rs4d.ops import (
    available_engines,
    bidirectional_conv_silu,
    bidirectional_selective_scan,
    selective_scan,
)
from rs4d.ops.cpu import library

ENGINES = [name for name in ('cpu', 'chunked') if available_engines()[name].available]
SHAPES = [(1, 1, 3), (2, 63, 37), (1, 200, 64), (2, 130, 16)]


def scan_inputs(batch: int, length: int, channels: int, states: int = 16) -> list[Tensor]:
    """Draw the arguments as a mixer makes them: slices of projections, not contiguous."""
    torch.manual_seed(length)
    u, delta = (torch.randn(2, batch, length, channels) for _ in range(2))
    projection = torch.randn(2, batch, length, 4 + 2 * states)
    _, B, C = projection.split([4, states, states], dim=-1)
    A = -torch.rand(channels, states) * states
    D, delta_bias = torch.randn(channels), torch.randn(channels) - 3
    z = torch.randn(batch, length, 2 * channels).chunk(2, dim=-1)[1]
    return [u, delta, A, B, C, D, delta_bias, z]


def conv_inputs(batch: int, length: int, channels: int, taps: int = 4) -> list[Tensor]:
    torch.manual_seed(length)
    x = torch.randn(batch, length, 2 * channels).chunk(2, dim=-1)[0]
    return [x, torch.randn(channels, taps), torch.randn(channels)]


def assert_matches(function, tensors: list[Tensor], engine: str) -> None:
    ours = [x.detach().requires_grad_() for x in tensors]
    exact = [x.detach().double().requires_grad_() for x in tensors]
    got, expected = function(*ours, engine=engine), function(*exact, engine='reference')
    assert got.shape == expected.shape
    assert (got - expected).norm() <= 1e-5 * expected.norm()
    weight = torch.randn_like(got)
    gradients = torch.autograd.grad(got, ours, weight)
    exact_gradients = torch.autograd.grad(expected, exact, weight.double())
    for i, (x, y) in enumerate(zip(gradients, exact_gradients, strict=True)):
        assert torch.isfinite(x).all(), i
        assert (x - y).norm() < 1e-4 * y.norm() + 1e-9, i


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('engine', ENGINES)
def test_scan(engine: str, shape: tuple[int, int, int]) -> None:
    assert_matches(bidirectional_selective_scan, scan_inputs(*shape), engine)


def test_both_directions_are_two_scans_averaged_and_gated() -> None:
    u, delta, A, B, C, D, bias, z = (x.double() for x in scan_inputs(2, 21, 5))
    steps = torch.nn.functional.softplus(delta + bias)
    y = [
        selective_scan(u[i], steps[i], A, B[i], C[i], D, reverse=bool(i), engine='reference')
        for i in range(2)
    ]
    got = bidirectional_selective_scan(u, delta, A, B, C, D, bias, z, engine='reference')
    torch.testing.assert_close(got, (y[0] + y[1]) / 2 * torch.nn.functional.silu(z))


@pytest.mark.parametrize('engine', ENGINES)
def test_empty_tensors(engine: str) -> None:
    for shape in ((0, 5, 4, 3), (2, 5, 4, 0)):
        assert_matches(bidirectional_selective_scan, scan_inputs(*shape), engine)
    assert bidirectional_conv_silu(*conv_inputs(0, 5, 4), engine=engine).shape == (2, 0, 5, 4)


def test_wrong_shapes_are_named() -> None:
    u, delta, A, B, C, D, bias, z = scan_inputs(1, 9, 5)
    with pytest.raises(ValueError, match=r'z has the shape \(1, 9, 4\)'):
        bidirectional_selective_scan(u, delta, A, B, C, D, bias, z[..., :4])
    with pytest.raises(ValueError, match=r'u must be \(2, B, L, D\)'):
        bidirectional_selective_scan(u[:1], delta, A, B, C, D, bias, z)


@pytest.mark.parametrize('taps', [1, 2, 4, 7])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('engine', ENGINES)
def test_convolution(engine: str, shape: tuple[int, int, int], taps: int) -> None:
    assert_matches(bidirectional_conv_silu, conv_inputs(*shape, taps=taps), engine)


def test_backward_convolution_is_the_flip_of_the_forward_one() -> None:
    x, weight, bias = conv_inputs(1, 40, 6)
    backward = bidirectional_conv_silu(x, weight, bias)[1]
    forward = bidirectional_conv_silu(x.flip(1), weight, bias)[0]
    torch.testing.assert_close(backward, forward.flip(1))


@pytest.mark.parametrize('engine', ENGINES)
def test_convolution_without_bias(engine: str) -> None:
    assert_matches(bidirectional_conv_silu, conv_inputs(2, 30, 5)[:2], engine)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('engine', ENGINES)
def test_half_precision_is_rounded_only_at_the_edge(engine: str, dtype: torch.dtype) -> None:
    for function, drawn in (
        (bidirectional_selective_scan, scan_inputs(1, 50, 8)),
        (bidirectional_conv_silu, conv_inputs(1, 50, 8)),
    ):
        low = [x.to(dtype).requires_grad_() for x in drawn]
        exact = [x.detach().float().requires_grad_() for x in low]
        got, expected = function(*low, engine=engine), function(*exact, engine=engine)
        weight = torch.randn(got.shape).to(dtype)
        gradients = torch.autograd.grad(got, low, weight)
        exact_gradients = torch.autograd.grad(expected, exact, weight.float())
        for x, y in zip((got, *gradients), (expected, *exact_gradients), strict=True):
            assert torch.equal(x, y.to(dtype))


@pytest.mark.skipif('cpu' not in ENGINES, reason='the C++ kernels are not built')
class TestKernels:
    def test_registration_holds_what_pytorch_asks_of_an_op(self) -> None:
        op = torch.ops.rs4d.scan_cpu.default
        u, delta, A, B, C, D, bias, z = (x.requires_grad_() for x in scan_inputs(1, 9, 5, 3))
        torch.library.opcheck(op, (u, delta, A, B, C, D, bias, z, False, True))
        single = [x.detach()[:1].requires_grad_() for x in (u, delta, B, C)]
        torch.library.opcheck(op, (*single[:2], A, *single[2:], None, None, None, True, True))
        plain = [x.detach() for x in (u, delta, A, B, C, D, bias, z)]
        torch.library.opcheck(op, (*plain, False, False))
        conv = [x.requires_grad_() for x in conv_inputs(1, 9, 5)]
        for args in (conv, [*conv[:2], None]):
            torch.library.opcheck(torch.ops.rs4d.conv_silu_cpu.default, tuple(args))

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
                    (bidirectional_selective_scan(*scan), bidirectional_conv_silu(*conv))
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

    def test_no_states_are_kept_without_gradients(self) -> None:
        class Seen(torch.utils._python_dispatch.TorchDispatchMode):
            sizes: list[int] = []

            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                if func is torch.ops.rs4d.scan_cpu.default:
                    self.sizes.append(out[1].numel())
                return out

        with Seen() as seen:
            bidirectional_selective_scan(*scan_inputs(1, 70, 8))
            bidirectional_selective_scan(*(x.requires_grad_() for x in scan_inputs(1, 70, 8)))
        assert [bool(size) for size in seen.sizes] == [False, True]

    def test_exponential_throughput_is_that_of_a_machine(self) -> None:
        assert 1e8 < library.exp_throughput(threads=1, rounds=1) < 1e12

    @pytest.mark.parametrize('bad', [float('nan'), float('inf')])
    def test_what_is_not_finite_shows(self, bad: float) -> None:
        tensors = scan_inputs(1, 100, 8)
        tensors[0][0, 0, 50, 3] = bad
        y = bidirectional_selective_scan(*tensors)
        assert not torch.isfinite(y[0, 50:, 3]).any()
        assert torch.isfinite(y[0, :50]).all()
