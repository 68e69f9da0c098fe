"""The selective scan by the CUDA kernels of Mamba's authors, where those are installed.

``mamba_ssm`` gives ``selective_scan_fn`` and ``causal_conv1d`` gives ``causal_conv1d_fn``. Both work
channels first and in one direction: here are the transposes and flips, and two directions go in as
one batch of twice the size. The kernels' own autograd functions are used.
"""

import importlib
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from rs4d.errors import ConfigError

from . import definition
from .definition import gated, in_scan_order

MAX_STATES = 256
CONV_TAPS = (2, 3, 4)

_INSTALL = (
    'Install the packages with their kernels: "pip install causal-conv1d --no-build-isolation" and '
    '"MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation".'
)


def missing_packages() -> str | None:
    """Say what keeps the packages from being used.

    Returns:
        What is missing or broken with the remedy, or None.
    """
    # mamba-ssm's default build has no selective_scan_cuda.
    names = ('mamba_ssm', 'selective_scan_cuda', 'causal_conv1d')
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        return f'there is no {", no ".join(missing)} here. {_INSTALL}'
    try:
        scan_function()
        conv_function()
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        return f'mamba_ssm or causal_conv1d cannot be imported ({error}). {_INSTALL}'
    return None


def scan_function() -> Callable[..., Tensor]:
    """Return mamba_ssm's ``selective_scan_fn``."""
    return importlib.import_module('mamba_ssm.ops.selective_scan_interface').selective_scan_fn


def conv_function() -> Callable[..., Tensor]:
    """Return causal_conv1d's ``causal_conv1d_fn``."""
    return importlib.import_module('causal_conv1d').causal_conv1d_fn


# Found out once, at import: torch.compile traces the choice of an engine, but not an import.
_MISSING = missing_packages()


def unavailable_reason() -> str | None:
    """Return why the engine cannot run here, or None if it can."""
    if _MISSING is None and not torch.cuda.is_available():
        return 'PyTorch finds no GPU here.'
    return _MISSING


@torch.compiler.disable
def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    z: Tensor | None,
    *,
    reverse: bool,
) -> Tensor:
    """Scan float32 tensors; arguments and result as `rs4d.ops.definition.scan_by`.

    Raises:
        ConfigError: If there are more states than the kernel takes.
    """
    if A.shape[1] > MAX_STATES:
        raise ConfigError(
            f"The scan engine 'cuda' takes up to {MAX_STATES} states a channel, but A has the shape "
            f"{tuple(A.shape)}. Choose the engine 'triton' or 'chunked'."
        )
    u_t, delta_t, B_t, C_t = (
        in_scan_order(x, reverse).flatten(0, 1).transpose(1, 2).contiguous()
        for x in (u, delta, B, C)
    )
    y = scan_function()(
        u_t,
        delta_t,
        A.contiguous(),
        B_t,
        C_t,
        None if D is None else D.contiguous(),
        delta_bias=None if delta_bias is None else delta_bias.contiguous(),
        delta_softplus=delta_bias is not None,
    )
    y = in_scan_order(y.transpose(1, 2).unflatten(0, u.shape[:2]), reverse)
    return gated(y.mean(0), z)


@torch.compiler.disable
def conv_silu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve both directions in one call of the kernel, or by the definition if it can't.

    Args:
        x: Sequence (B, L, D), float32 as the others.
        weight: Taps of each channel (D, K); the kernel takes those of `CONV_TAPS`.
        bias: (D,) or None.

    Returns:
        As `rs4d.ops.bidirectional_conv_silu`.
    """
    if weight.shape[1] not in CONV_TAPS:
        return definition.conv_silu(x, weight, bias)
    both = torch.cat([x, x.flip(1)]).transpose(1, 2)
    # The kernel takes adjacent channels if they come in eights, and copies nothing then.
    both = both if x.shape[2] % 8 == 0 else both.contiguous()
    y = conv_function()(both, weight.contiguous(), bias, activation='silu').transpose(1, 2)
    return in_scan_order(y.unflatten(0, (2, x.shape[0])), reverse=False)
