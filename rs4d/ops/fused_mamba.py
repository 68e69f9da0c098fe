"""The middle of a bidirectional Mamba mixer: what lies between its matrix products.

Both functions work channels last, on (B, L, D), and serve the two directions of a mixer that shares
its weights. Each has a definition in plain PyTorch beside it, which is also what runs wherever no
fused kernel fits. They compute in float32, or float64 if their input is, whatever the autocast.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from .conv_silu_cpu import bidirectional_conv_silu_cpu
from .fused_scan_cpu import bidirectional_scan_cpu
from .fused_scan_triton import bidirectional_scan_triton
from .selective_scan import choose_engine, selective_scan
from .selective_scan.cuda import (
    CONV_TAPS,
    bidirectional_conv_silu_cuda,
    bidirectional_scan_cuda,
)

# Engines that do more than the scan in one kernel; the others take the definition.
_FUSED_SCAN = {
    'cpu': bidirectional_scan_cpu,
    'cuda': bidirectional_scan_cuda,
    'triton': bidirectional_scan_triton,
}


def conv_silu_definition(
    x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Define `bidirectional_conv_silu` in plain PyTorch; arguments and results are the same."""
    taps = weight.shape[1]
    sequence = x.transpose(1, 2)

    def convolve(padding: tuple[int, int], kernel: Tensor) -> Tensor:
        padded = F.pad(sequence, padding)
        return F.silu(
            F.conv1d(padded, kernel.unsqueeze(1), bias, groups=x.shape[2]).transpose(1, 2)
        )

    return convolve((taps - 1, 0), weight), convolve((0, taps - 1), weight.flip(1))


def bidirectional_conv_silu(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, engine: str = 'auto'
) -> tuple[Tensor, Tensor]:
    """Depthwise causal convolution and SiLU in both directions of a sequence.

    The backward direction equals flipping ``x``, convolving and flipping back.

    Args:
        x: Sequence (B, L, D).
        weight: Taps of each channel (D, K), the last one for the current step.
        bias: (D,) or None.
        engine: Engine of `rs4d.ops.selective_scan`; ``'cpu'`` has a kernel for this, too.

    Returns:
        The forward and the backward direction's result, each (B, L, D), in the type of ``x``.
    """
    compute = _compute_type(x)
    arguments = (x.to(compute), weight.to(compute), None if bias is None else bias.to(compute))
    with _without_autocast(x):
        name = choose_engine(x, engine)
        convolve = conv_silu_definition
        if name == 'cpu':
            convolve = bidirectional_conv_silu_cpu
        elif name == 'cuda' and weight.shape[1] in CONV_TAPS and x.numel():
            convolve = bidirectional_conv_silu_cuda
        forward, backward = convolve(*arguments)
    return forward.to(x.dtype), backward.to(x.dtype)


def _without_autocast(x: Tensor) -> AbstractContextManager[None]:
    # Tensors without memory have no autocast that could be switched off.
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _compute_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def bidirectional_scan_definition(
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
    *,
    engine: str = 'auto',
) -> Tensor:
    """Define `bidirectional_selective_scan` in plain PyTorch; arguments and result are the same."""
    y_forward = selective_scan(
        u_forward, F.softplus(delta_forward + delta_bias), A, B_forward, C_forward, D, engine=engine
    )
    y_backward = selective_scan(
        u_backward,
        F.softplus(delta_backward + delta_bias),
        A,
        B_backward,
        C_backward,
        D,
        reverse=True,
        engine=engine,
    )
    return 0.5 * (y_forward + y_backward) * F.silu(z)


def bidirectional_selective_scan(
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
    *,
    engine: str = 'auto',
) -> Tensor:
    """Scan both directions, average them and gate: ``(scan(f) + scan(b)) / 2 * silu(z)``.

    Args:
        u_forward: Input of the forward scan (B, L, D).
        u_backward: Input of the backward scan (B, L, D).
        delta_forward: Its time steps before bias and softplus (B, L, D).
        delta_backward: The same for the backward scan.
        A: Shared state matrix (D, N), negative.
        B_forward: Input matrices (B, L, N).
        C_forward: Output matrices (B, L, N).
        B_backward: Input matrices of the backward scan (B, L, N).
        C_backward: Output matrices of the backward scan (B, L, N).
        D: Skip weights (D,).
        delta_bias: Added to both deltas before the softplus (D,).
        z: Gate before its SiLU (B, L, D).
        engine: Engine of `rs4d.ops.selective_scan`; ``'cpu'`` does all of this in one kernel.

    Returns:
        (B, L, D), in the type of ``z``.
    """
    compute = _compute_type(u_forward)
    given = (u_forward, u_backward, delta_forward, delta_backward, A, B_forward, C_forward)
    tensors = [x.to(compute) for x in (*given, B_backward, C_backward, D, delta_bias, z)]
    with _without_autocast(u_forward):
        name = choose_engine(u_forward, engine)
        # Empty tensors launch nothing on a GPU; the definition has an answer for them.
        if name in _FUSED_SCAN and (name == 'cpu' or (u_forward.numel() and A.numel())):
            y = _FUSED_SCAN[name](*tensors)
        else:
            y = bidirectional_scan_definition(*tensors, engine=name)
    return y.to(z.dtype)
