"""The middle of a bidirectional Mamba mixer: what lies between its matrix products.

Both functions work channels last, on (B, L, D), and serve the two directions of a mixer that shares
its weights. Each has a definition in plain PyTorch beside it, which is also what runs wherever no
fused kernel fits.
"""

import torch.nn.functional as F
from torch import Tensor

from .selective_scan import selective_scan


def conv_silu_definition(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
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
    x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Depthwise causal convolution and SiLU in both directions of a sequence.

    The backward direction equals flipping ``x``, convolving and flipping back.

    Args:
        x: Sequence (B, L, D).
        weight: Taps of each channel (D, K), the last one for the current step.
        bias: (D,) or None.

    Returns:
        The forward and the backward direction's result, each (B, L, D).
    """
    return conv_silu_definition(x, weight, bias)


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
        engine: Engine of `rs4d.ops.selective_scan`.

    Returns:
        (B, L, D).
    """
    return bidirectional_scan_definition(
        u_forward,
        u_backward,
        delta_forward,
        delta_backward,
        A,
        B_forward,
        C_forward,
        B_backward,
        C_backward,
        D,
        delta_bias,
        z,
        engine,
    )
