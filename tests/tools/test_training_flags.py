"""Mixed precision, accumulation and compiling by flag, together and with what a config says."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from rs4d.apis import accumulate_gradients
from rs4d.cli import parse
from rs4d.engine.precision import choose_dtype, train_in_dtype
from rs4d.errors import ConfigError

Call = Callable[..., tuple[int, str, str]]


def config(**wrapper: object) -> Config:
    return Config(dict(optim_wrapper=dict(wrapper)))


def gpu(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: bf16)


@pytest.mark.parametrize(
    ('bf16', 'precision', 'expected'),
    [
        (True, 'auto', 'bf16'),
        (False, 'auto', 'fp16'),
        (True, 'fp16', 'fp16'),
        (True, 'bf16', 'bf16'),
    ],
)
def test_precision(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, precision: str, expected: str
) -> None:
    gpu(monkeypatch, bf16)
    cfg = config(type='OptimWrapper', clip_grad=dict(max_norm=1), accumulative_counts=2)
    choose_dtype(cfg, precision, training=True)
    train_in_dtype(cfg)
    accumulate_gradients(cfg, 3)
    added = {
        'fp16': dict(type='SkippingAmpOptimWrapper', dtype='float16', loss_scale='dynamic'),
        'bf16': dict(type='SkippingOptimWrapper', autocast='bfloat16'),
    }[expected]
    assert cfg.optim_wrapper == dict(clip_grad=dict(max_norm=1), accumulative_counts=3, **added)


def test_accumulation_of_nothing() -> None:
    with pytest.raises(ConfigError, match='0 is below 1'):
        accumulate_gradients(config(), 0)


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ('--amp config.py', 'auto'),
        ('config.py --amp', 'auto'),
        ('config.py --amp --compile', 'auto'),
        ('--amp fp16 config.py', 'fp16'),
        ('--amp auto config.py', 'auto'),
        ('config.py --amp bf16', 'bf16'),
        ('config.py', None),
    ],
)
def test_amp_before_and_after_the_config(words: str, expected: str | None) -> None:
    args = parse(['train', *words.split()])
    assert (args.config, args.amp) == ('config.py', expected)


def test_all_flags_train_on_a_cpu(call: Call, config: str, tmp_path: Path) -> None:
    """PyTorch's own tracing, without a compiler behind it, which takes its time."""
    distill = Path(config).with_name('tiny_distill_config.py')
    flags = ('--amp', 'bf16', '--accumulate', 2, '--compile')
    options = ('train_cfg.max_epochs=1', 'compile.backend=eager')
    code, output, _ = call(
        'train.py', distill, '--work-dir', tmp_path, *flags, '--cfg-options', *options
    )
    assert code == 0, output[-2000:]
    assert 'Compiling student' in output
    written = (tmp_path / 'tiny_distill_config.py').read_text()
    assert "autocast='bfloat16'" in written
    assert 'accumulative_counts=2' in written
