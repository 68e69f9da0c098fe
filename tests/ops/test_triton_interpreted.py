"""The Triton kernels' values and gradients, under Triton's interpreter on the CPU.

The interpreter has to be asked for before Triton is imported, so that `test_triton.py` runs this file
in a process of its own. By hand: TRITON_INTERPRET=1 pytest tests/ops/test_triton_interpreted.py
"""

import importlib
import importlib.util
import os

import pytest
import torch
from torch import Tensor

from rs4d.ops import (
    ScanEngineError,
    available_engines,
    bidirectional_selective_scan,
    choose_engine,
    selective_scan,
)

pytestmark = pytest.mark.skipif(
    os.environ.get('TRITON_INTERPRET') != '1' or importlib.util.find_spec('triton') is None,
    reason='needs Triton, and TRITON_INTERPRET=1 before the start',
)
NAMES = ('y', 'u', 'delta', 'A', 'B', 'C', 'D')
Tensors = list[Tensor | None]


@pytest.fixture(autouse=True)
def _few_chunks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carry states over 4 chunks at once, not 16, for each of which the interpreter takes its time."""
    carry(4, monkeypatch)


def carry(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module('rs4d.ops.triton.scan'), '_CARRY_GROUP', chunks)


def inputs(batch: int, length: int, channels: int, states: int) -> Tensors:
    """Draw u, delta, A, B, C and D; delta over three decades, A over two."""
    generator = torch.Generator().manual_seed(batch * length + channels * states)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        normal(batch, length, channels),
        0.03 * torch.exp(1.5 * normal(batch, length, channels)),
        -torch.exp(1.5 * normal(channels, states)),
        normal(batch, length, states),
        normal(batch, length, states),
        normal(channels),
    ]


def run(engine: str, tensors: Tensors, reverse: bool) -> Tensors:
    """Return y and the gradients of all tensors."""
    leaves = [None if x is None else x.detach().requires_grad_() for x in tensors]
    y = selective_scan(*leaves, reverse=reverse, engine=engine)
    weight = torch.sin(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y.dtype)
    grads = iter(torch.autograd.grad(y, [x for x in leaves if x is not None], weight))
    return [y.detach(), *(None if x is None else next(grads) for x in leaves)]


def double(tensors: Tensors) -> Tensors:
    return [None if x is None else x.double() for x in tensors]


def relative_error(got: Tensor, expected: Tensor) -> float:
    return ((got.double() - expected).norm() / expected.norm().clamp_min(1e-30)).item()


def assert_matches_definition(tensors: Tensors, reverse: bool) -> None:
    got = run('triton', tensors, reverse)
    expected = run('reference', double(tensors), reverse)
    for name, x, y in zip(NAMES, got, expected, strict=True):
        if y is None:
            assert x is None
            continue
        assert x.dtype == torch.float32
        assert x.shape == y.shape
        assert x.isfinite().all(), name
        assert relative_error(x, y) < (1e-5 if name == 'y' else 1e-4), name


@pytest.mark.parametrize('reverse', [False, True], ids=['forward', 'reverse'])
@pytest.mark.parametrize(
    'shape',
    [
        (1, 1, 1, 1),
        (1, 2, 3, 2),
        (2, 8, 3, 3),  # one chunk of the backward pass
        (1, 63, 1, 2),
        (1, 65, 2, 1),  # one step more than a chunk of the forward pass
        (2, 5, 3, 0),
        (0, 5, 3, 2),
    ],
    ids=str,
)
def test_matches_definition(shape: tuple[int, int, int, int], reverse: bool) -> None:
    assert_matches_definition(inputs(*shape), reverse)


@pytest.mark.parametrize(
    'shape',
    [
        (1, 5, 33, 1),  # two blocks of channels
        (1, 3, 2, 40),  # more states than one warp holds
    ],
    ids=str,
)
def test_larger_sizes(shape: tuple[int, int, int, int]) -> None:
    assert_matches_definition(inputs(*shape), True)


# 17 and 33 chunks of the backward pass, which makes the states of the forward pass again, and those
# by the same kernel.
@pytest.mark.parametrize(('length', 'at_once', 'reverse'), [(130, 16, False), (260, 4, True)])
def test_more_chunks_than_are_carried_at_once(
    length: int, at_once: int, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry(at_once, monkeypatch)
    assert_matches_definition(inputs(1, length, 1, 1), reverse)


def test_without_skip() -> None:
    assert_matches_definition([*inputs(1, 20, 3, 2)[:5], None], True)


def test_extremes() -> None:
    # Every pairing of the smallest and the largest delta and A. Constant values: rounding errors of
    # the decay add up instead of averaging out.
    u, _, _, B, C, D = inputs(1, 512, 2, 2)
    delta = torch.tensor([1e-4, 20.0]).expand_as(u)
    A = torch.tensor([-0.01, -64.0]).expand(2, 2)
    y = selective_scan(u, delta, A, B, C, D, reverse=False, engine='triton')
    expected = selective_scan(*double([u, delta, A, B, C, D]), reverse=False, engine='reference')
    for channel in range(2):
        assert relative_error(y[..., channel], expected[..., channel]) < 1e-5


def test_gradients_of_mixed_extremes() -> None:
    u, _, _, B, C, D = inputs(1, 60, 2, 2)
    generator = torch.Generator().manual_seed(0)
    delta = torch.logspace(-4, 1.3, u.numel())[torch.randperm(u.numel(), generator=generator)]
    A = -torch.logspace(-2, 1.8, 4).view(2, 2)
    assert_matches_definition([u, delta.view(u.shape), A, B, C, D], True)


def test_strided_inputs() -> None:
    u, delta, A, B, C, D = inputs(2, 3, 2, 2)
    both, rows = torch.cat([u, delta], dim=2), torch.cat([B, C], dim=2)
    expected = run('triton', [u, delta, A, B, C, D], True)
    halves = [both[..., :2], both[..., 2:], A, rows[..., :2], rows[..., 2:], D]
    channels_first = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (u, delta, B, C)]
    turned = [*channels_first[:2], A.t().contiguous().t(), *channels_first[2:], D]
    for tensors in (halves, turned):
        assert not tensors[1].is_contiguous()
        for x, y in zip(run('triton', tensors, True), expected, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)


@pytest.mark.parametrize('index', range(6), ids=NAMES[1:])
def test_not_a_number_propagates(index: int) -> None:
    tensors = inputs(1, 9, 2, 1)
    tensors[index].view(-1)[tensors[index].numel() // 2] = float('nan')
    got = run('triton', tensors, False)
    expected = run('reference', tensors, False)
    for name, x, y in zip(NAMES, got, expected, strict=True):
        assert torch.equal(x.isnan().any(), y.isnan().any()), name


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_through_autograd(dtype: torch.dtype) -> None:
    leaves = [x.to(dtype).requires_grad_() for x in inputs(1, 20, 3, 2)]
    y = selective_scan(*leaves, reverse=True, engine='triton')
    exact = [x.detach().double().requires_grad_() for x in leaves]
    expected = selective_scan(*exact, reverse=True, engine='reference')
    weight = torch.randn(y.shape, dtype=torch.float64).to(dtype)
    got = [y, *torch.autograd.grad((y * weight).sum(), leaves)]
    wanted = [expected, *torch.autograd.grad((expected * weight.double()).sum(), exact)]
    for x, z in zip(got, wanted, strict=True):
        assert x.dtype == dtype
        assert relative_error(x, z) < (1e-4 if dtype == torch.float32 else 2e-2)


def both_directions(contiguous: bool) -> list[Tensor]:
    """Draw the arguments of the bidirectional scan."""
    torch.manual_seed(0)
    u, delta = torch.randn(2, 2, 11, 2), torch.randn(2, 2, 11, 2)
    A, (B, C) = -4 * torch.rand(2, 2), torch.randn(2, 2, 2, 11, 2)
    if not contiguous:
        u = torch.cat([u, u], dim=3)[..., 2:]
        C = C.transpose(2, 3).contiguous().transpose(2, 3)
    return [u, delta, A, B, C, torch.randn(2), torch.randn(2), torch.randn(2, 11, 2)]


@pytest.mark.parametrize('contiguous', [True, False])
def test_both_directions_at_once(contiguous: bool) -> None:
    leaves = [x.detach().requires_grad_() for x in both_directions(contiguous)]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    y = bidirectional_selective_scan(*leaves, engine='triton')
    expected = bidirectional_selective_scan(*exact, engine='reference')
    weight = torch.randn_like(y)
    assert relative_error(y, expected) < 1e-5
    grads = torch.autograd.grad((y * weight).sum(), leaves)
    wanted = torch.autograd.grad((expected * weight.double()).sum(), exact)
    for i, (x, z) in enumerate(zip(grads, wanted, strict=True)):
        assert relative_error(x, z) < 1e-4, i


def test_registration_holds_what_pytorch_asks_of_an_op() -> None:
    x = torch.rand(2, 1, 2, 2)
    leaves = [t.clone().requires_grad_() for t in (x, x, -x[0, 0], x, x, x[0, 0, 0])]
    torch.library.opcheck(torch.ops.rs4d.scan_triton.default, (*leaves, False))


def test_takes_float32_on_the_interpreter() -> None:
    assert available_engines()['triton'].available
    assert choose_engine(torch.zeros(1), 'triton') == 'triton'
    with pytest.raises(ScanEngineError, match='float64'):
        choose_engine(torch.zeros(1, dtype=torch.float64), 'triton')
    with pytest.raises(ScanEngineError, match='meta'):
        choose_engine(torch.zeros(1, device='meta'), 'triton')
