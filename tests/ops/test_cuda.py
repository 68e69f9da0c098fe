"""The adapter to the CUDA kernels of mamba_ssm and causal_conv1d, with stand-ins for the kernels.

The stand-ins have the packages' documented signatures and layouts, sequences (B, channels, L), and
refuse what the real ones refuse. Like those they are autograd functions.
"""

import dataclasses
import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rs4d.ops import bidirectional_selective_scan, cuda, definition, selective_scan
from rs4d.ops.registry import ENGINES


def scan_definition(u, delta, A, B, C, D, delta_bias, delta_softplus):
    """Scan channels first: u, delta (B, D, L), A (D, N), B, C (B, N, L), D, delta_bias (D,)."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    state = u.new_zeros(*u.shape[:2], A.shape[1])
    out = []
    for t in range(u.shape[2]):
        decay = torch.exp(torch.einsum('bd,dn->bdn', delta[..., t], A))
        state = decay * state + torch.einsum('bd,bn->bdn', delta[..., t] * u[..., t], B[..., t])
        out.append(torch.einsum('bdn,bn->bd', state, C[..., t]))
    y = torch.stack(out, dim=2)
    return y if D is None else y + u * D[:, None]


class StandIn(torch.autograd.Function):
    """A function of tensors and plain arguments, recorded as one node as the real kernels are."""

    @staticmethod
    def forward(ctx, function, plain, *tensors):
        ctx.function, ctx.plain = function, plain
        ctx.save_for_backward(*tensors)
        return function(*tensors, *plain)

    @staticmethod
    def backward(ctx, grad):
        leaves = [None if x is None else x.detach().requires_grad_() for x in ctx.saved_tensors]
        given = [x for x in leaves if x is not None]

        with torch.enable_grad():
            y = ctx.function(*leaves, *ctx.plain)
        grads = iter(torch.autograd.grad(y, given, grad))
        return None, None, *(None if x is None else next(grads) for x in leaves)


class Scan:
    """In the place of mamba_ssm's ``selective_scan_fn``; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self,
        u,
        delta,
        A,
        B,
        C,
        D=None,
        z=None,
        delta_bias=None,
        delta_softplus=False,
        return_last_state=False,
    ):
        self.calls += 1
        assert z is None
        assert not return_last_state
        batch, channels, length = u.shape
        assert delta.shape == u.shape
        assert A.shape[0] == channels
        assert B.shape == C.shape == (batch, A.shape[1], length)
        for x in (u, delta, B, C):
            assert x.stride(-1) == 1 or x.shape[-1] == 1
        for x in (u, delta, A, B, C, D, delta_bias):
            assert x is None or (x.dtype == torch.float32 and x.is_contiguous())
        return StandIn.apply(
            scan_definition,
            (delta_softplus,),
            u,
            delta,
            A,
            B,
            C,
            D,
            delta_bias,
        )


class Convolution:
    """In the place of causal_conv1d's ``causal_conv1d_fn``; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x, weight, bias=None, seq_idx=None, activation=None):
        self.calls += 1
        assert seq_idx is None
        assert activation == 'silu'
        channels, width = weight.shape
        assert x.shape[1] == channels
        assert 2 <= width <= 4
        if x.stride(2) != 1:  # channels last
            assert x.stride(1) == 1
            assert channels % 8 == 0
            assert x.stride(0) % 8 == 0
            assert x.stride(2) % 8 == 0

        def convolve(x, weight, bias):
            padded = F.pad(x, (width - 1, 0))
            return F.silu(F.conv1d(padded, weight[:, None], bias, groups=channels))

        return StandIn.apply(convolve, (), x, weight, bias)


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Scan:
    kernel = Scan()
    monkeypatch.setattr(cuda, 'scan_function', lambda: kernel)
    return kernel


@pytest.fixture
def convolution(monkeypatch: pytest.MonkeyPatch) -> Convolution:
    kernel = Convolution()
    monkeypatch.setattr(cuda, 'conv_function', lambda: kernel)
    return kernel


def inputs(batch: int = 2, length: int = 9, channels: int = 5, states: int = 3) -> list[Tensor]:
    torch.manual_seed(length)
    return [
        torch.randn(batch, length, channels),
        torch.rand(batch, length, channels),
        -4 * torch.rand(channels, states),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.randn(channels),
    ]


def assert_close(got: Tensor | None, expected: Tensor | None, name: str = '') -> None:
    if expected is None:
        assert got is None
        return
    assert got.shape == expected.shape
    assert (got - expected).norm() < 1e-5 * expected.norm() + 1e-12, name


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine take CPU tensors."""
    engine = dataclasses.replace(ENGINES['cuda'], device='cpu', unavailable_reason=lambda: None)
    monkeypatch.setitem(ENGINES, 'cuda', engine)


def assert_matches_definition(function, tensors: list[Tensor | None], **kwargs: bool) -> None:
    leaves = [None if x is None else x.detach().requires_grad_() for x in tensors]
    exact = [None if x is None else x.detach().double().requires_grad_() for x in tensors]
    y = function(*leaves, **kwargs, engine='cuda')
    expected = function(*exact, **kwargs, engine='reference')
    assert_close(y, expected)
    weight = torch.randn_like(y)
    given, wanted = ([x for x in some if x is not None] for some in (leaves, exact))
    got = torch.autograd.grad(y, given, weight)
    expected_grads = torch.autograd.grad(expected, wanted, weight.double())
    for i, (x, z) in enumerate(zip(got, expected_grads, strict=True)):
        assert_close(x, z, str(i))


@pytest.mark.usefixtures('registered')
@pytest.mark.parametrize('skip', [True, False], ids=['skip', 'no_skip'])
@pytest.mark.parametrize('reverse', [False, True], ids=['forward', 'reverse'])
@pytest.mark.parametrize('length', [1, 9])
def test_one_direction(scan: Scan, length: int, reverse: bool, skip: bool) -> None:
    tensors = inputs(length=length)
    if not skip:
        tensors[-1] = None
    assert_matches_definition(selective_scan, tensors, reverse=reverse)
    assert scan.calls == 1


@pytest.mark.usefixtures('registered')
def test_both_directions_in_one_call(scan: Scan) -> None:
    u, delta, A, B, C, D = inputs()
    sequences = [torch.stack([x, -x.flip(0)]) for x in (u, delta, B, C)]
    tensors = [*sequences[:2], A, *sequences[2:], D]
    tensors += [torch.randn(5), torch.randn(2, 9, 10)[..., 5:]]
    assert_matches_definition(bidirectional_selective_scan, tensors)
    assert scan.calls == 1


@pytest.mark.parametrize('with_bias', [True, False])
@pytest.mark.parametrize('taps', [2, 4])
@pytest.mark.parametrize('channels', [16, 5], ids=['channels_last', 'channels_first'])
def test_convolution_of_both_directions_in_one_call(
    convolution: Convolution, channels: int, taps: int, with_bias: bool
) -> None:
    torch.manual_seed(channels)
    x = torch.randn(2, 9, 2 * channels)[..., :channels]
    tensors = [x, torch.randn(channels, taps)] + [torch.randn(channels)] * with_bias
    leaves = [x.detach().requires_grad_() for x in tensors]
    exact = [x.detach().double().requires_grad_() for x in tensors]
    bias = [] if with_bias else [None]
    got = cuda.conv_silu(*leaves, *bias)
    expected = definition.conv_silu(*exact, *bias)
    assert convolution.calls == 1
    assert_close(got, expected)
    weight = torch.randn_like(got)
    grads = torch.autograd.grad(got, leaves, weight)
    wanted = torch.autograd.grad(expected, exact, weight.double())
    for i, (x, z) in enumerate(zip(grads, wanted, strict=True)):
        assert_close(x, z, str(i))


@pytest.mark.usefixtures('registered')
def test_empty_inputs_never_reach_the_kernel(scan: Scan) -> None:
    for tensors in (inputs(batch=0), inputs(states=0)):
        assert_matches_definition(selective_scan, tensors)
    assert scan.calls == 0


@pytest.mark.usefixtures('registered')
def test_too_many_states_are_named(scan: Scan) -> None:
    with pytest.raises(ValueError, match='up to 256 states'):
        selective_scan(*inputs(states=cuda.MAX_STATES + 1), engine='cuda')
    assert scan.calls == 0


def test_more_taps_than_the_kernel_takes(convolution: Convolution) -> None:
    x, weight = torch.randn(1, 9, 5), torch.randn(5, 7)
    assert torch.equal(cuda.conv_silu(x, weight, None), definition.conv_silu(x, weight, None))
    assert convolution.calls == 0


def test_takes_float32_on_gpus() -> None:
    assert "not on 'cpu'" in ENGINES['cuda'].unsupported_reason(torch.zeros(1))


def test_absent_packages_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    reason = cuda.missing_packages()
    assert 'no selective_scan_cuda' in reason
    assert 'MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation' in reason


def test_broken_packages_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError('undefined symbol')

    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    monkeypatch.setattr(cuda, 'scan_function', fail)
    assert 'undefined symbol' in cuda.missing_packages()
