"""The selective scan by the CUDA kernels of Mamba's authors, where those are installed.

``mamba_ssm`` gives ``selective_scan_fn`` and ``causal_conv1d`` gives ``causal_conv1d_fn``. Both work
channels first and in one direction: here are the transposes and flips, and two directions go in as
one batch of twice the size. The kernels' own backward passes are used.
"""

import importlib
import importlib.util
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import chunked

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


def unsupported_reason(u: Tensor) -> str | None:
    """Return why the engine does not take such an input, or None if it does."""
    if u.device.type != 'cuda':
        return f"it runs on CUDA tensors, not on '{u.device.type}'"
    if u.dtype == torch.float64:
        return 'it computes in float32, not in float64'
    return None


def _check_states(A: Tensor) -> None:
    if A.shape[1] > MAX_STATES:
        raise ValueError(
            f"The scan engine 'cuda' takes up to {MAX_STATES} states a channel, but A has the shape "
            f"{tuple(A.shape)}. Choose the engine 'triton' or 'chunked'."
        )


def _to_kernel(x: Tensor, reverse: bool) -> Tensor:
    """Turn (B, L, C) into (B, C, L) in the order of the scan."""
    return (x.flip(1) if reverse else x).transpose(1, 2).contiguous()


def _from_kernel(x: Tensor, reverse: bool) -> Tensor:
    """Undo `_to_kernel`."""
    return (x.flip(2) if reverse else x).transpose(1, 2).contiguous()


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Tensor:
    """Run the scan; shapes as in `rs4d.ops.selective_scan`, all float32.

    Returns:
        y, (B, L, D).

    Raises:
        ValueError: If there are more states than the kernel takes.
    """
    _check_states(A)
    if not u.numel() or not A.numel():
        return chunked.forward(u, delta, A, B, C, D, reverse)
    u, delta, B, C = (_to_kernel(x, reverse) for x in (u, delta, B, C))
    D = None if D is None else D.contiguous()
    return _from_kernel(scan_function()(u, delta, A.contiguous(), B, C, D), reverse)


def backward(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Differentiate the scan by the kernel's own backward pass, after its forward pass once more.

    Args:
        grad_y: Gradient of y, (B, L, D).
        u: As in `forward`.
        delta: As in `forward`.
        A: As in `forward`.
        B: As in `forward`.
        C: As in `forward`.
        D: As in `forward`.
        reverse: As in `forward`.

    Returns:
        Gradients of u, delta, A, B, C and D; None for a D of None.

    Raises:
        ValueError: If there are more states than the kernel takes.
    """
    _check_states(A)
    if not u.numel() or not A.numel():
        return chunked.backward(grad_y, u, delta, A, B, C, D, reverse)
    sequences = [_to_kernel(x, reverse) for x in (u, delta, B, C)]
    # The function's own inputs must be the leaves: inside of an operator nothing else is recorded.
    parameters = [A.contiguous()] if D is None else [A.contiguous(), D.contiguous()]
    leaves = [x.detach().requires_grad_() for x in (*sequences, *parameters)]
    with torch.enable_grad():
        y = scan_function()(*leaves[:2], leaves[4], *leaves[2:4], None if D is None else leaves[5])
    grads = torch.autograd.grad(y, leaves, _to_kernel(grad_y, reverse))
    grad_u, grad_delta, grad_B, grad_C = (_from_kernel(x, reverse) for x in grads[:4])
    return grad_u, grad_delta, grads[4], grad_B, grad_C, None if D is None else grads[5]


def _stack(x_forward: Tensor, x_backward: Tensor) -> Tensor:
    """Make one batch (2 B, C, L) of two directions (B, L, C), the second one flipped."""
    both = [x_forward.transpose(1, 2), x_backward.flip(1).transpose(1, 2)]
    return torch.cat(both).contiguous()


@torch.compiler.disable
def bidirectional_scan_cuda(
    u_forward: Tensor,
    u_backward: Tensor,
    delta_forward: Tensor,
    delta_backward: Tensor,
    A: Tensor,
    B_forward: Tensor,
    C_forward: Tensor,
    B_backward: Tensor,
    C_backward: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    z: Tensor,
) -> Tensor:
    """Compute ``rs4d.ops.bidirectional_selective_scan`` with both directions in one kernel call.

    Args:
        u_forward: (B, L, D); all tensors are float32.
        u_backward: (B, L, D).
        delta_forward: Before bias and softplus, (B, L, D).
        delta_backward: Before bias and softplus, (B, L, D).
        A: (D, N).
        B_forward: (B, L, N).
        C_forward: (B, L, N).
        B_backward: (B, L, N).
        C_backward: (B, L, N).
        D: (D,).
        delta_bias: (D,).
        z: Gate before its SiLU, (B, L, D).

    Returns:
        (B, L, D).

    Raises:
        ValueError: If there are more states than the kernel takes.
    """
    _check_states(A)
    y = scan_function()(
        _stack(u_forward, u_backward),
        _stack(delta_forward, delta_backward),
        A.contiguous(),
        _stack(B_forward, B_backward),
        _stack(C_forward, C_backward),
        D.contiguous(),
        delta_bias=delta_bias.contiguous(),
        delta_softplus=True,
    )
    y_forward, y_backward = y.chunk(2)
    return 0.5 * (y_forward + y_backward.flip(2)).transpose(1, 2) * F.silu(z)


@torch.compiler.disable
def bidirectional_conv_silu_cuda(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Convolve both directions in one call of the kernel; differentiable.

    Args:
        x: Sequence (B, L, D), float32 as the others.
        weight: Taps of each channel (D, K), K one of `CONV_TAPS`.
        bias: (D,) or None.

    Returns:
        As `rs4d.ops.bidirectional_conv_silu`.

    Raises:
        ValueError: If the kernel does not take so many taps.
    """
    if weight.shape[1] not in CONV_TAPS:
        raise ValueError(
            f'causal_conv1d takes {CONV_TAPS[0]} to {CONV_TAPS[-1]} taps, but weight has the shape '
            f"{tuple(weight.shape)}. Choose the engine 'triton' or 'chunked'."
        )
    both = torch.cat([x, x.flip(1)]).transpose(1, 2)
    # The kernel takes adjacent channels if they come in eights, and copies nothing then.
    both = both if x.shape[2] % 8 == 0 else both.contiguous()
    y = conv_function()(both, weight.contiguous(), bias, activation='silu').transpose(1, 2)
    y_forward, y_backward = y.chunk(2)
    return y_forward, y_backward.flip(1)
