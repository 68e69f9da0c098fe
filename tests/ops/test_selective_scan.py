"""Every engine of the selective scan against the float64 definition, and the dispatcher."""

import importlib.util
import operator
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.models.mamba import modeling_mamba

from rs4d.ops import (
    Engine,
    ScanEngineError,
    added_engine,
    available_engines,
    bidirectional_conv_silu,
    bidirectional_selective_scan,
    choose_engine,
    chunked,
    selective_scan,
    use_engine,
)
from rs4d.ops.registry import ENGINES, ENVIRONMENT_VARIABLE

ON_CPU = [
    name
    for name, engine in ENGINES.items()
    if engine.unavailable_reason() is None and engine.unsupported_reason(torch.zeros(1)) is None
]
FLOAT64 = ['reference', 'chunked']
Inputs = list[Tensor]


def inputs(
    length: int,
    batch: int = 2,
    channels: int = 5,
    states: int = 3,
    dtype: torch.dtype = torch.float32,
    delta_range: tuple[float, float] = (1e-3, 0.3),
    A_range: tuple[float, float] = (0.5, 8.0),
) -> Inputs:
    """Draw u, delta, A, B, C and D; delta and A log-uniform in their ranges."""
    torch.manual_seed(length)

    def log_uniform(low: float, high: float, *shape: int) -> Tensor:
        low, high = torch.tensor([low, high], dtype=torch.float64).log()
        return torch.exp(low + (high - low) * torch.rand(*shape, dtype=torch.float64)).to(dtype)

    return [
        torch.randn(batch, length, channels, dtype=dtype),
        log_uniform(*delta_range, batch, length, channels),
        -log_uniform(*A_range, channels, states),
        torch.randn(batch, length, states, dtype=dtype),
        torch.randn(batch, length, states, dtype=dtype),
        torch.randn(channels, dtype=dtype),
    ]


def relative_error(got: Tensor, expected: Tensor) -> float:
    return ((got.double() - expected).norm() / expected.norm().clamp_min(1e-30)).item()


def values_and_gradients(tensors: Inputs, **kwargs: object) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    y = selective_scan(*leaves, **kwargs)
    torch.manual_seed(1)
    weight = torch.randn(y.shape, dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)]


def assert_matches_definition(
    tensors: Inputs,
    value_tolerance: float = 1e-5,
    gradient_tolerance: float = 1e-4,
    **kwargs: object,
) -> None:
    got = values_and_gradients(tensors, **kwargs)
    expected = values_and_gradients(
        [x.double() for x in tensors], **kwargs | {'engine': 'reference'}
    )
    tolerances = [value_tolerance] + [gradient_tolerance] * len(tensors)
    names = ['y', 'u', 'delta', 'A', 'B', 'C', 'D'][: len(got)]
    for name, x, y, tolerance in zip(names, got, expected, tolerances, strict=True):
        assert torch.isfinite(x).all(), name
        assert relative_error(x, y) < tolerance, (name, relative_error(x, y))


@pytest.mark.parametrize('reverse', [False, True], ids=['forward', 'reverse'])
@pytest.mark.parametrize('length', [1, 2, 63, 500, 1000])
@pytest.mark.parametrize('engine', ON_CPU)
def test_values_and_gradients(engine: str, length: int, reverse: bool) -> None:
    assert_matches_definition(inputs(length), engine=engine, reverse=reverse)


@pytest.mark.parametrize('shape', [(1, 1, 1), (3, 17, 16), (1, 40, 7)])
@pytest.mark.parametrize('engine', ON_CPU)
def test_any_number_of_channels_and_states(engine: str, shape: tuple[int, int, int]) -> None:
    batch, channels, states = shape
    assert_matches_definition(inputs(70, batch, channels, states), engine=engine)


@pytest.mark.parametrize('engine', ON_CPU)
def test_without_skip(engine: str) -> None:
    assert_matches_definition(inputs(33)[:-1], engine=engine)


@pytest.mark.parametrize('reverse', [False, True], ids=['forward', 'reverse'])
@pytest.mark.parametrize('engine', [name for name in ON_CPU if name != 'reference'])
def test_extreme_dynamics_and_long_sequences(engine: str, reverse: bool) -> None:
    tensors = inputs(
        4096, batch=1, channels=4, states=4, delta_range=(1e-4, 20.0), A_range=(0.01, 64.0)
    )
    assert_matches_definition(tensors, engine=engine, reverse=reverse)


@pytest.mark.parametrize('reverse', [False, True], ids=['forward', 'reverse'])
def test_segments_of_the_chunked_engine(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, 'SEGMENT', 50)
    assert_matches_definition(inputs(131), engine='chunked', reverse=reverse)


@pytest.mark.parametrize('reverse', [False, True], ids=['forward', 'reverse'])
@pytest.mark.parametrize('engine', FLOAT64)
def test_gradcheck(engine: str, reverse: bool) -> None:
    tensors = [x.requires_grad_() for x in inputs(7, 1, 3, 2, dtype=torch.float64)]
    assert torch.autograd.gradcheck(
        lambda *args: selective_scan(*args, reverse=reverse, engine=engine), tensors
    )


@pytest.mark.parametrize('engine', ON_CPU)
def test_reverse_is_the_scan_of_the_flipped_sequence(engine: str) -> None:
    u, delta, A, B, C, D = inputs(37)
    flipped = selective_scan(
        u.flip(1), delta.flip(1), A, B.flip(1), C.flip(1), D, engine=engine
    ).flip(1)
    got = selective_scan(u, delta, A, B, C, D, reverse=True, engine=engine)
    torch.testing.assert_close(got, flipped, rtol=1e-5, atol=1e-5)


def mamba_ssm_reference() -> Callable[..., Tensor]:
    """Load selective_scan_ref without the compiled kernel that its module imports first."""
    package = importlib.util.find_spec('mamba_ssm')
    if package is None or not package.submodule_search_locations:
        pytest.skip("mamba-ssm's Python part is not installed")
    pytest.importorskip('einops')
    path = Path(package.submodule_search_locations[0]) / 'ops' / 'selective_scan_interface.py'
    spec = importlib.util.spec_from_file_location('mamba_ssm_reference', path)
    module = importlib.util.module_from_spec(spec)
    stand_ins = ('selective_scan_cuda', 'mamba_ssm', 'mamba_ssm.ops', 'mamba_ssm.ops.triton')
    with pytest.MonkeyPatch.context() as patch:
        for name in (*stand_ins, 'mamba_ssm.ops.triton.layer_norm', 'mamba_ssm.utils.torch'):
            stand_in = types.ModuleType(name)
            stand_in.__getattr__ = lambda _: lambda *args, **kwargs: lambda f: f
            patch.setitem(sys.modules, name, stand_in)
        spec.loader.exec_module(module)
    return module.selective_scan_ref


@pytest.mark.parametrize('engine', ON_CPU)
def test_against_mamba_ssm(engine: str) -> None:
    u, delta, A, B, C, D = inputs(50, channels=8, states=16)
    expected = mamba_ssm_reference()(
        *(x.transpose(1, 2) for x in (u, delta)), A, B.transpose(1, 2), C.transpose(1, 2), D
    ).transpose(1, 2)
    got = selective_scan(u, delta, A, B, C, D, engine=engine)
    torch.testing.assert_close(got, expected, rtol=6e-4, atol=2e-3)
    assert relative_error(got, expected.double()) < 1e-5


@pytest.mark.parametrize('engine', ON_CPU)
def test_against_hugging_face(engine: str) -> None:
    if not hasattr(modeling_mamba, 'mamba_selective_scan'):
        pytest.skip('this transformers has no separate scan; the mixer is compared as a whole')
    u, delta, A, B, C, D = inputs(50, channels=8, states=16)
    expected = modeling_mamba.mamba_selective_scan(
        *(x.transpose(1, 2) for x in (u, delta)), A, B.transpose(1, 2), C.transpose(1, 2), D
    )
    expected = expected.reshape(2, 8, 50).transpose(1, 2)
    got = selective_scan(u, delta, A, B, C, D, engine=engine)
    assert relative_error(got, expected.double()) < 1e-5


@pytest.mark.parametrize('engine', ON_CPU)
def test_inputs_need_not_be_contiguous(engine: str) -> None:
    u, delta, A, B, C, D = inputs(20)
    both = torch.cat([u, delta], dim=2)
    BC = torch.cat([B, C], dim=2)
    views = [*both.chunk(2, dim=2), A.t().contiguous().t(), *BC.chunk(2, dim=2), D]
    assert not views[0].is_contiguous()
    assert not views[2].is_contiguous()
    assert_matches_definition(views, engine=engine)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('engine', ON_CPU)
def test_half_precision_is_rounded_only_at_the_edge(engine: str, dtype: torch.dtype) -> None:
    low = [x.to(dtype) for x in inputs(300)]
    got = selective_scan(*low, engine=engine)
    expected = selective_scan(*(x.float() for x in low), engine=engine)
    assert got.dtype == dtype
    torch.testing.assert_close(got, expected.to(dtype), rtol=0, atol=0)


def test_autocast_does_not_reach_inside() -> None:
    tensors = inputs(40)
    plain = selective_scan(*tensors, engine='chunked')
    with torch.autocast('cpu', torch.bfloat16):
        autocast = selective_scan(*tensors, engine='chunked')
    torch.testing.assert_close(autocast, plain, rtol=0, atol=0)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('engine', ON_CPU)
def test_what_is_not_finite_goes_on_to_the_end(engine: str, bad: float) -> None:
    u, *rest = inputs(30, batch=1)
    u[0, 10, 2] = bad
    y = selective_scan(u, *rest, engine=engine)
    assert torch.isfinite(y[0, :10]).all()
    assert not torch.isfinite(y[0, 10, 2])
    assert not torch.isfinite(y[0, 11:, 2]).any()
    assert torch.isfinite(y[0, :, [0, 1, 3, 4]]).all()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(delta=torch.rand(2, 9, 5)), r'delta has the shape \(2, 9, 5\)'),
        (dict(A=torch.rand(4, 3)), r'A has the shape \(4, 3\)'),
        (dict(B=torch.rand(2, 3, 8)), 'channels last'),
        (dict(D=torch.rand(6)), 'D has the shape'),
        (dict(u=torch.rand(2, 5)), 'u must be'),
        (dict(u=torch.zeros(2, 8, 5, dtype=torch.long)), 'floating point'),
        (dict(C=torch.rand(2, 8, 3, device='meta')), 'C is on meta'),
    ],
)
def test_wrong_inputs_are_named(change: dict[str, Tensor], message: str) -> None:
    tensors = dict(zip(('u', 'delta', 'A', 'B', 'C', 'D'), inputs(8), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        selective_scan(**tensors)


@pytest.mark.parametrize('engine', ON_CPU)
def test_compiles_without_a_break(engine: str) -> None:
    def model(*args: Tensor) -> Tensor:
        return selective_scan(*args, reverse=True).sigmoid()

    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    tensors = [x.requires_grad_() for x in inputs(12)]
    with use_engine(engine):
        expected, got = model(*tensors), compiled(*tensors)
    torch.testing.assert_close(got, expected)
    for a, b in zip(
        torch.autograd.grad(got.sum(), tensors),
        torch.autograd.grad(expected.sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


class Middle(torch.nn.Module):
    """The middle of a mixer, what lies between its products."""

    def forward(self, x: Tensor, weight: Tensor, *rest: Tensor) -> Tensor:
        delta, A, B, C, D, bias, z = rest
        u = bidirectional_conv_silu(x, weight)
        return bidirectional_selective_scan(u, delta, A, B, C, D, bias, z)


def middle_inputs() -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    u, delta, A, B, C, D = inputs(41, batch=1)
    delta, B, C = (torch.stack([x, -x]) for x in (delta, B, C))
    return u, torch.randn(5, 4), delta, A, B, C, D, torch.randn(5), torch.randn_like(u)


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')  # sizes are constants of a trace
@pytest.mark.parametrize('grad', [False, True], ids=['no_grad', 'grad'])
@pytest.mark.parametrize('engine', ['chunked', 'reference'])
def test_plain_engines_export_and_trace(
    engine: str, grad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are made of PyTorch's own operators alone; the sequence spans several segments."""
    monkeypatch.setattr(chunked, 'SEGMENT', 16)
    tensors = middle_inputs()
    with use_engine(engine), torch.set_grad_enabled(grad):
        expected = Middle()(*tensors)
        exported = torch.export.export(Middle(), tensors)
        traced = torch.jit.trace(Middle(), tensors)
    targets = {node.target for node in exported.graph.nodes if node.op == 'call_function'}
    foreign = [x for x in targets - {operator.getitem} if not str(x).startswith('aten.')]
    assert not foreign
    assert 'rs4d::' not in str(traced.inlined_graph)
    for program in (exported.module(), traced):
        torch.testing.assert_close(program(*tensors), expected)


@pytest.mark.parametrize('engine', ON_CPU)
def test_gradients_under_activation_checkpointing(engine: str) -> None:
    leaves = [x.requires_grad_() for x in inputs(70)]
    plain = selective_scan(*leaves, engine=engine)
    again = checkpoint(lambda *x: selective_scan(*x, engine=engine), *leaves, use_reentrant=False)
    for x, y in zip(
        torch.autograd.grad(plain.sum(), leaves),
        torch.autograd.grad(again.sum(), leaves),
        strict=True,
    ):
        assert torch.equal(x, y)


@pytest.mark.parametrize('engine', ['reference', 'chunked'])
def test_meta_tensors_know_the_shape(engine: str) -> None:
    tensors = [x.to('meta') for x in inputs(100, channels=512, states=16)]
    y = selective_scan(*tensors, engine=engine)
    assert y.shape == (2, 100, 512)
    assert y.device.type == 'meta'


def test_choice_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    u = torch.zeros(1, 1, 1)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert choose_engine(u) == ON_CPU[0]
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, 'reference')
    assert choose_engine(u) == 'reference'
    with use_engine('chunked'):
        assert choose_engine(u) == 'chunked'
        assert choose_engine(u, 'reference') == 'reference'
        with use_engine('auto'):
            assert choose_engine(u) == ON_CPU[0]
    assert choose_engine(u) == 'reference'


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScanEngineError, match=r"no scan engine 'fast'.*chunked"):
        selective_scan(*inputs(4), engine='fast')
    with pytest.raises(ScanEngineError, match='use_engine'), use_engine('fast'):
        pass
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, 'fast')
    with pytest.raises(ScanEngineError, match=ENVIRONMENT_VARIABLE):
        selective_scan(*inputs(4))


def test_an_engine_that_cannot_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Engine(ENGINES['chunked'].scan, unavailable_reason=lambda: 'pip install missing')
    monkeypatch.setitem(ENGINES, 'missing', missing)
    status = available_engines()['missing']
    assert not status.available
    assert 'pip install missing' in str(status)
    with pytest.raises(ScanEngineError, match='pip install missing'):
        selective_scan(*inputs(4), engine='missing')


def test_an_engine_of_ones_own() -> None:
    seen = []

    def scan(u: Tensor, *others: Tensor | None, reverse: bool) -> Tensor:
        seen.append((u.shape, len(others), reverse))
        return u.mean(0)

    before = available_engines()
    with added_engine('own', Engine(scan)):
        selective_scan(*inputs(6), reverse=True)
    assert seen == [((1, 2, 6, 5), 7, True)]
    assert available_engines() == before


def test_available_engines_lists_the_definition_last() -> None:
    engines = available_engines()
    assert list(engines)[-2:] == ['chunked', 'reference']
    assert engines['chunked'].available
    assert engines['reference'].available
