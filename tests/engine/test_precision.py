"""In what numbers a run computes: flags, the config, and what the machine has."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from rs4d.engine import precision
from rs4d.engine.precision import choose_dtype, predict_in_dtype, train_in_dtype
from rs4d.errors import ConfigError

AMX = 'processor : 0\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n'
MILAN = 'processor : 0\nflags\t\t: fpu avx2 fma\n'
GRAVITON = 'processor : 0\nFeatures\t: fp asimd fphp asimdhp bf16\n'


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CPU without a GPU beside it, and without bf16 until a test writes otherwise."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    file = tmp_path / 'cpuinfo'
    file.write_text(MILAN)
    monkeypatch.setattr(precision, '_CPUINFO', file)
    return file


def chosen(amp: str | None, training: bool = True, **settings: Any) -> str:
    cfg = Config(settings)
    choose_dtype(cfg, amp, training=training)
    return cfg.get('dtype', 'float32')


def test_a_flag_stands_in_the_place_of_the_config(machine: Path) -> None:
    assert chosen(None) == 'float32'
    assert chosen(None, dtype='bfloat16') == 'bfloat16'
    assert chosen('bf16', dtype='float32') == 'bfloat16'
    assert chosen('fp16', training=False) == 'float16'
    machine.write_text(AMX)
    assert chosen('auto') == 'bfloat16'


@pytest.mark.parametrize(
    ('amp', 'settings', 'message'),
    [
        ('auto', {}, 'gains nothing on this CPU'),
        ('fp16', {}, '--amp fp16 asks for mixed precision on a GPU'),
        (None, dict(dtype='float16'), "dtype='float16' in the config asks for mixed precision on"),
        (None, dict(dtype='bf16'), 'choose one of float32, bfloat16, float16'),
    ],
)
def test_what_this_machine_or_nobody_has(
    amp: str | None, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(amp, **settings)


def test_a_gpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: False)
    with pytest.raises(ConfigError, match='Take fp16'):
        chosen('bf16')


def test_wrappers_of_several_optimizers_are_not_known() -> None:
    cfg = Config(dict(dtype='bfloat16', optim_wrapper=dict(type='OptimWrapperDict')))
    with pytest.raises(ConfigError, match='OptimWrapperDict'):
        train_in_dtype(cfg)


class Product(nn.Module):
    """A product, which autocasting takes in another type."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        if x.isnan().any():
            raise ValueError('no number')
        return x @ self.weight


class Found(NamedTuple):
    """What a head gives, with names."""

    scores: Tensor
    others: list[Tensor]


class NamingHead(nn.Module):
    """A head in mixed precision that gives a named tuple."""

    def forward(self, x: Tensor) -> Found:
        return Found(x @ x, [x @ x, torch.arange(2)])

    def predict_by_feat(self) -> None:
        """What tells a head."""


def test_what_heads_give_is_widened_whatever_holds_it() -> None:
    model = nn.Sequential(Product(), NamingHead()).eval()
    predict_in_dtype(model, 'bfloat16')
    found = model(torch.ones(4, 4))
    assert isinstance(found, Found)
    assert found.scores.dtype == found.others[0].dtype == torch.float32
    assert found.others[1].dtype == torch.int64


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_predictions_alone_and_nothing_left_behind(dtype: str) -> None:
    model, x = Product(), torch.ones(2, 4)
    predict_in_dtype(model, dtype)
    assert model.train()(x).dtype == torch.float32
    assert model.eval()(x).dtype == getattr(torch, dtype)
    with pytest.raises(ValueError, match='no number'):
        model(x * torch.nan)
    assert (x @ model.weight).dtype == torch.float32


@pytest.mark.parametrize(
    ('cpuinfo', 'dtype', 'slow'),
    [
        (MILAN, 'float32', None),
        (MILAN, 'bfloat16', 'neither AVX512-BF16 nor AMX nor'),
        (AMX, 'bfloat16', None),
        (AMX, 'float16', 'neither AVX512-FP16 nor'),
        (GRAVITON, 'bfloat16', None),
        ('', 'bfloat16', None),
    ],
)
def test_a_warning_where_it_is_slower(
    machine: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, dtype: str, slow: str | None
) -> None:
    machine.write_text(cpuinfo)
    said: list[str] = []
    monkeypatch.setattr(precision, 'print_log', lambda text, **_: said.append(text))
    predict_in_dtype(Product(), dtype)
    assert len(said) == (slow is not None)
    assert (slow or '') in ''.join(said)
