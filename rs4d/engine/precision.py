"""In what numbers a run computes: the config's ``dtype``, in whose place ``--amp`` stands."""

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import Tensor, nn

from rs4d.errors import ConfigError

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
_FLAGS = {'bf16': 'bfloat16', 'fp16': 'float16'}
# The instruction sets that multiply in a type, as Linux calls them on x86 and on ARM.
_MULTIPLY = {
    'bfloat16': {'avx512_bf16': 'AVX512-BF16', 'amx_bf16': 'AMX', 'bf16': "ARM's BF16"},
    'float16': {'avx512_fp16': 'AVX512-FP16', 'amx_fp16': 'AMX-FP16', 'asimdhp': "ARM's FP16"},
}
_CPUINFO = Path('/proc/cpuinfo')


def choose_dtype(cfg: Config, amp: str | None, *, training: bool) -> None:
    """Settle the config's ``dtype`` before a run, and check that this machine has it.

    Args:
        cfg: Changed in place.
        amp: ``'bf16'`` or ``'fp16'``; ``'auto'`` for the first of these that the GPU has, or bf16 on
            a CPU that multiplies in it; None leaves it to the config, which means float32 if it says
            nothing.
        training: Whether the run trains, which in float16 takes a GPU.

    Raises:
        ConfigError: This machine has no such numbers, or the config names none.
    """
    gpu = torch.cuda.is_available()
    # float16 overflows in state space models long before bfloat16 does.
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else multiplies_in_bf16()
    if amp == 'auto' and not gpu and not bf16:
        raise ConfigError(
            '--amp asks for mixed precision, which gains nothing on this CPU, and PyTorch finds no '
            'GPU. Leave --amp out, or name bf16 to have it in any case.'
        )
    if amp is not None:
        cfg.dtype = _FLAGS.get(amp) or ('bfloat16' if bf16 else 'float16')
    dtype = cfg.get('dtype', 'float32')
    asked = f'--amp {amp}' if amp else f'dtype={dtype!r} in the config'
    if dtype not in DTYPES:
        raise ConfigError(f'{asked} is no type to compute in; choose one of {", ".join(DTYPES)}.')
    if dtype == 'float16' and training and not gpu:
        raise ConfigError(
            f'{asked} asks for mixed precision on a GPU, and PyTorch finds none here. Leave it out '
            'to train on the CPU in float32, or take bf16, which CPUs know, too.'
        )
    if dtype == 'bfloat16' and gpu and not bf16:
        raise ConfigError(f'{asked}: this GPU has no bfloat16. Take fp16.')


def train_in_dtype(cfg: Config) -> None:
    """Let the optimizer wrapper train in the config's ``dtype``; float32 leaves it as it is.

    Args:
        cfg: Changed in place; what its optimizer wrapper says otherwise stays.

    Raises:
        ConfigError: The optimizer wrapper is one whose mixed precision is not known.
    """
    wrapper: ConfigDict | None = cfg.get('optim_wrapper')
    dtype = cfg.get('dtype', 'float32')
    if wrapper is None or dtype == 'float32':
        return
    kind = wrapper.get('type', 'OptimWrapper')
    if str(kind).split('.')[-1].removeprefix('Skipping') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(
            f'It is not known what dtype={dtype!r} (--amp) is for optim_wrapper.type={kind!r}. Set '
            'mixed precision up there and leave dtype and --amp out.'
        )
    if dtype == 'float16':
        wrapper.pop('autocast', None)
        wrapper.update(type='SkippingAmpOptimWrapper', dtype='float16')
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        # bfloat16 has the exponents of float32: nothing to scale.
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        wrapper.update(type='SkippingOptimWrapper', autocast='bfloat16')


def predict_in_dtype(model: nn.Module, dtype: str) -> None:
    """Let a model compute in mixed precision whenever it is called in evaluation mode.

    In training the optimizer wrapper does that. What heads read boxes, scores and masks from is float32
    again: a coordinate of 8 bits would be off by pixels. On a CPU that only imitates the type, a
    warning says that it is slower.

    Args:
        model: Changed in place.
        dtype: A key of :data:`DTYPES`; float32 changes nothing.
    """
    if dtype == 'float32':
        return
    device = next(model.parameters()).device.type
    if device == 'cpu' and not _multiplies_in(dtype):
        names = ' nor '.join(_MULTIPLY[dtype].values())
        print_log(
            f'{dtype} is slower than float32 on this processor, which has neither {names}; leave out '
            f'--amp, or dtype={dtype!r} in the config.',
            logger='current',
            level=logging.WARNING,
        )
    entered: list[torch.autocast] = []

    def enter(module: nn.Module, inputs: Any) -> None:
        if not module.training:
            entered.append(torch.autocast(device, DTYPES[dtype]))
            entered[-1].__enter__()

    def leave(module: nn.Module, inputs: Any, outputs: Any) -> None:
        if not module.training:
            entered.pop().__exit__(None, None, None)

    def widen(head: nn.Module, inputs: Any, outputs: Any) -> Any:
        return outputs if head.training else _float32(outputs)

    model.register_forward_pre_hook(enter)
    model.register_forward_hook(leave, always_call=True)
    for module in model.modules():
        if hasattr(module, 'predict_by_feat'):
            module.register_forward_hook(widen)


def _float32(outputs: Any) -> Any:
    if isinstance(outputs, tuple | list):
        # A named tuple takes its items one by one.
        make = getattr(outputs, '_make', type(outputs))
        return make(_float32(output) for output in outputs)
    floating = isinstance(outputs, Tensor) and outputs.is_floating_point()
    return outputs.float() if floating else outputs


def multiplies_in_bf16() -> bool:
    """Whether this machine's CPU multiplies in bfloat16, rather than converting to float32."""
    return _multiplies_in('bfloat16')


def _multiplies_in(dtype: str) -> bool:
    """Whether the CPU has instructions for it; where Linux does not say so, it is not known: yes."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return True
    flags = [line.split() for line in lines if line.startswith(('flags', 'Features'))]
    return not flags or not _MULTIPLY[dtype].keys().isdisjoint(flags[0])
