"""The compiled CPU kernels of the selective scan: every instruction set, edges, threads, forks."""

import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from rs4d.ops import bidirectional_conv_silu, selective_scan
from rs4d.ops.cpu import library

pytestmark = pytest.mark.skipif(
    library.unavailable_reason() is not None, reason=str(library.unavailable_reason())
)
HALF = (torch.bfloat16, torch.float16)
NAMES = ('y', 'u', 'delta', 'A', 'B', 'C', 'D')


@pytest.fixture(params=[0, 1, 2], ids=['baseline', 'avx2', 'avx512'])
def simd_level(request: pytest.FixtureRequest) -> Iterator[int]:
    kernels = library.library()
    best = kernels.rs4d_simd_level()
    if kernels.rs4d_set_simd_level(request.param) != request.param:
        pytest.skip('this machine has no such instructions')
    yield request.param
    kernels.rs4d_set_simd_level(best)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def inputs(batch: int, length: int, channels: int, states: int) -> list[Tensor]:
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


def run(engine: str, tensors: list[Tensor | None], reverse: bool) -> list[Tensor | None]:
    """Return y and the gradients of all tensors."""
    leaves = [None if x is None else x.detach().requires_grad_() for x in tensors]
    y = selective_scan(*leaves, reverse=reverse, engine=engine)
    weight = torch.sin(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y.dtype)
    grads = iter(torch.autograd.grad(y, [x for x in leaves if x is not None], weight))
    return [y.detach(), *(None if x is None else next(grads) for x in leaves)]


def relative_error(got: Tensor, expected: Tensor) -> float:
    return ((got.double() - expected).norm() / expected.norm().clamp_min(1e-30)).item()


def assert_matches_definition(tensors: list[Tensor | None], reverse: bool) -> None:
    got = run('cpu', tensors, reverse)
    expected = run('reference', [None if x is None else x.double() for x in tensors], reverse)
    for name, x, y in zip(NAMES, got, expected, strict=True):
        if y is None:
            assert x is None
            continue
        assert x.dtype == torch.float32
        assert x.shape == y.shape
        assert relative_error(x, y) < (1e-5 if name == 'y' else 1e-4), name


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize(
    'shape',
    [
        (1, 1, 1, 1),
        (2, 63, 3, 16),  # less than a vector
        (1, 64, 16, 4),  # one chunk, one vector
        (3, 65, 17, 5),  # one more of each
        (1, 129, 33, 1),
        (2, 130, 100, 19),
        (2, 40, 7, 0),
        (0, 5, 4, 3),
    ],
)
def test_matches_definition(
    simd_level: int, shape: tuple[int, int, int, int], reverse: bool
) -> None:
    assert_matches_definition(inputs(*shape), reverse)


@pytest.mark.parametrize('reverse', [False, True])
def test_without_skip(reverse: bool) -> None:
    assert_matches_definition([*inputs(2, 70, 20, 6)[:5], None], reverse)


def test_strided_inputs(simd_level: int) -> None:
    u, delta, A, B, C, D = inputs(2, 70, 24, 6)
    both = torch.cat([u, delta], dim=2)
    rows = torch.cat([B, C], dim=2)
    strided = [both[..., :24], both[..., 24:], A, rows[..., :6], rows[..., 6:], D]
    assert not strided[1].is_contiguous()
    channels_first = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (u, delta, B, C)]
    expected = run('cpu', [u, delta, A, B, C, D], True)
    for tensors in (
        strided,
        [*channels_first[:2], A.t().contiguous().t(), *channels_first[2:], D],
    ):
        for x, y in zip(run('cpu', tensors, True), expected, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_extremes_over_a_long_sequence() -> None:
    """Every pairing of the smallest and the largest delta and A, a channel each.

    Constant values: rounding errors of the decay add up instead of averaging out.
    """
    u, _, _, B, C, D = inputs(1, 16384, 4, 2)
    delta = torch.tensor([1e-4, 1e-4, 20.0, 20.0]).expand_as(u)
    A = torch.tensor([-0.01, -64.0]).repeat(2)[:, None].expand(4, 2)
    tensors = [u, delta, A, B, C, D]
    got, expected = (
        run('cpu', tensors, False),
        run('reference', [x.double() for x in tensors], False),
    )
    for name, x, y in zip(NAMES, got, expected, strict=True):
        parts = [(x, y)]
        if name in ('y', 'u', 'delta'):
            parts = [(x[..., i], y[..., i]) for i in range(4)]
        elif name in ('A', 'D'):
            parts = [*zip(x, y, strict=True)]
        for got_part, exact in parts:
            assert relative_error(got_part, exact) < (1e-5 if name == 'y' else 1e-4), name


def test_mixed_extremes() -> None:
    torch.manual_seed(0)
    u, _, _, B, C, D = inputs(1, 4096, 8, 4)
    delta = torch.logspace(-4, 1.3, u.numel())[torch.randperm(u.numel())].view(u.shape)
    A = -torch.logspace(-2, 1.8, 32)[torch.randperm(32)].view(8, 4)
    assert_matches_definition([u, delta, A, B, C, D], True)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('index', range(6), ids=NAMES[1:])
def test_not_finite_values_propagate(simd_level: int, index: int, value: float) -> None:
    tensors = inputs(1, 80, 18, 4)
    tensors[index].view(-1)[tensors[index].numel() // 2] = value
    got = run('cpu', tensors, False)
    expected = run('reference', tensors, False)
    for name, x, y in zip(NAMES, got, expected, strict=True):
        finite = y.isfinite()
        # An infinite step forgets the past: both are right to keep later values finite.
        if finite.all():
            continue
        assert not x.isfinite().all(), name


def test_threads_change_nothing_that_they_should_not(simd_level: int, threads: None) -> None:
    tensors = inputs(2, 200, 150, 16)
    results = {}
    for count in (1, 2, 3, 4):
        torch.set_num_threads(count)
        results[count] = run('cpu', tensors, False)
        for x, y in zip(run('cpu', tensors, False), results[count], strict=True):
            assert torch.equal(x, y), 'two runs with the same threads differ'
        assert torch.equal(results[count][0], results[1][0])
        for x, y in zip(results[count], results[1], strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def test_own_threads_give_the_same(threads: None) -> None:
    torch.set_num_threads(3)
    tensors = inputs(2, 200, 150, 16)
    expected = run('cpu', tensors, False)
    kernels = library.library()
    kernels.rs4d_set_parallel_entry(None)
    try:
        got = run('cpu', tensors, False)
    finally:
        library.share_threads(kernels)
    for x, y in zip(got, expected, strict=True):
        assert torch.equal(x, y)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_forked_process_starts_no_threads(threads: None) -> None:
    torch.set_num_threads(2)
    tensors = inputs(1, 100, 64, 16)
    run('cpu', tensors, False)  # the parent's threads exist now
    child = os.fork()
    if child == 0:
        before = len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 0
        selective_scan(*tensors, engine='cpu')
        after = len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 0
        os._exit(0 if before == after else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (2, 63, 3, 16), (2, 130, 100, 19)])
@pytest.mark.parametrize('dtype', HALF, ids=str)
def test_half_precision_is_float32_rounded_at_the_edge(
    simd_level: int, shape: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    """Values and gradients, to the last bit."""
    u, delta, A, B, C, D = inputs(*shape)
    low = [x.to(dtype) for x in (u, delta, B, C)]
    got = run('cpu', [*low[:2], A, *low[2:], D], True)
    u, delta, B, C = (x.float() for x in low)
    weight = torch.sin(torch.arange(u.numel(), dtype=torch.float64)).view(u.shape).to(dtype)
    leaves = [x.requires_grad_() for x in (u, delta, A, B, C, D)]
    y = selective_scan(*leaves, reverse=True, engine='cpu')
    expected = [y, *torch.autograd.grad(y, leaves, weight.float())]
    for name, x, exact in zip(NAMES, got, expected, strict=True):
        assert x.dtype == (torch.float32 if name in 'AD' else dtype)
        assert torch.equal(x, exact.to(x.dtype)), name


def every_value(dtype: torch.dtype) -> Tensor:
    return torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)


def assert_same_numbers(got: Tensor, expected: Tensor) -> None:
    """All NaN are one, the two zeros are not."""
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)
    zero = expected == 0
    assert torch.equal(got[zero].signbit(), expected[zero].signbit())


@pytest.mark.parametrize('dtype', HALF, ids=str)
def test_every_value_is_read_as_pytorch_reads_it(simd_level: int, dtype: torch.dtype) -> None:
    """The gradient of D is u, where that of y is 1."""
    u = every_value(dtype).view(1, 1, -1)
    D, one = torch.zeros(u.numel(), requires_grad=True), torch.ones(1, 1, 1, dtype=dtype)
    y = selective_scan(u, torch.zeros_like(u), -torch.ones(u.numel(), 1), one, one, D, engine='cpu')
    (got,) = torch.autograd.grad(y, D, torch.ones_like(y))
    assert_same_numbers(got, u.flatten().float() + 0)  # it is added to 0, which -0 becomes


@pytest.mark.parametrize('dtype', HALF, ids=str)
def test_numbers_are_rounded_as_pytorch_rounds_them(simd_level: int, dtype: torch.dtype) -> None:
    """Every value, those halfway to the next ones, and both's neighbours; y is D, where u is 1."""
    exact = every_value(dtype).float()
    near = exact[exact.isfinite()].view(torch.int32)
    # Half of the distance between two of the type's numbers, in units of a float's last place.
    half = 2**15 if dtype == torch.bfloat16 else 2**12
    near = torch.cat([near + shift for shift in (-1, 1, half - 1, half, half + 1)])
    # And where numbers of the type lie as far apart as its smallest ones.
    steps = torch.arange(4096) * torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps / 2
    D = torch.cat([exact, near.view(torch.float32), steps, -steps])
    u = torch.ones(1, 1, D.numel(), dtype=dtype)
    one = torch.ones(1, 1, 1, dtype=dtype)
    # The state is 0; times -1, so that -0 stays.
    got = selective_scan(u, u * 0, -torch.ones(D.numel(), 1), one, -one, D, engine='cpu')
    assert_same_numbers(got.flatten(), D.to(dtype))


@pytest.mark.parametrize('dtype', HALF, ids=str)
def test_what_is_not_finite_stays_so_in_half_precision(simd_level: int, dtype: torch.dtype) -> None:
    x = torch.tensor([float('nan'), float('inf'), -float('inf'), 3.3e38, 1e-40, -0.0] * 6)
    x = x.view(1, 6, 6).to(dtype)
    taps = torch.ones(6, 1)
    got, expected = (
        bidirectional_conv_silu(x, taps, engine=engine) for engine in ('cpu', 'chunked')
    )
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.nan_to_num(), expected.nan_to_num())


def test_missing_library_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(tmp_path / 'absent.so'))
    reason = library.unavailable_reason.__wrapped__()
    assert 'compiler' in reason


def test_broken_library_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    broken = tmp_path / 'broken.so'
    broken.write_bytes(b'not a library')
    monkeypatch.setenv(library.LIBRARY_VARIABLE, str(broken))
    library.library.cache_clear()
    try:
        assert 'broken.so' in library.unavailable_reason.__wrapped__()
    finally:
        library.library.cache_clear()


def test_library_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, '_ABI_VERSION', -1)
    library.library.cache_clear()
    try:
        assert 'other sources' in library.unavailable_reason.__wrapped__()
    finally:
        library.library.cache_clear()
