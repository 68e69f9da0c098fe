"""The definitions, in plain PyTorch: the scan as a loop over time, and what surrounds it.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t
    y_t = C_t h_t + D u_t

(Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, equation 2
with the discretisation of section 2). Every engine is tested against these, in float64. Sequences
are stacked by direction, (S, B, L, channels): of two directions the second runs from the last step
to the first, a single one runs as ``reverse`` says.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

Recurrence = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def recurrence(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run the states from the first step to the last, without the skip; (B, L, D)."""
    decay = torch.exp(delta[..., None] * A)
    drive = (delta * u)[..., None] * B[:, :, None]
    h = u.new_zeros(u.shape[0], *A.shape)
    states = []
    for decay_t, drive_t in zip(decay.unbind(1), drive.unbind(1), strict=True):
        h = decay_t * h + drive_t
        states.append(h)
    return (torch.stack(states, dim=1) @ C[..., None]).squeeze(-1)


def scan_by(
    recurrence: Recurrence,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    z: Tensor | None,
    reverse: bool,
) -> Tensor:
    """Do what an engine's ``scan`` does with a recurrence that knows one direction only.

    Args:
        recurrence: As `recurrence`.
        u: Inputs (S, B, L, D).
        delta: Time steps (S, B, L, D), before bias and softplus if there is a bias.
        A: (D, N).
        B: (S, B, L, N).
        C: (S, B, L, N).
        D: Skip (D,) or None.
        delta_bias: (D,), or None where delta is final.
        z: Gate before its SiLU (B, L, D), or None.
        reverse: Order of a single direction.

    Returns:
        The directions' mean, gated: (B, L, D).
    """
    sequences = (u, time_steps(delta, delta_bias), B, C)
    u_t, delta_t, B_t, C_t = (in_scan_order(x, reverse).flatten(0, 1) for x in sequences)
    y = recurrence(u_t, delta_t, A, B_t, C_t).unflatten(0, u.shape[:2])
    y = in_scan_order(y, reverse)
    return gated(y.mean(0) if D is None else (y + u * D).mean(0), z)


# The engine `reference`.
scan = partial(scan_by, recurrence)


def time_steps(delta: Tensor, delta_bias: Tensor | None) -> Tensor:
    """Apply bias and softplus, where there is a bias."""
    return delta if delta_bias is None else F.softplus(delta + delta_bias)


def in_scan_order(x: Tensor, reverse: bool) -> Tensor:
    """Bring (S, B, L, channels) into the order in which it is scanned, or back."""
    if x.shape[0] == 2:
        return torch.stack([x[0], x[1].flip(1)])
    return x.flip(2) if reverse else x


def gated(y: Tensor, z: Tensor | None) -> Tensor:
    """Apply the gate, where there is one."""
    return y if z is None else y * F.silu(z)


def conv_silu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Define `rs4d.ops.bidirectional_conv_silu`: (B, L, D) to (2, B, L, D)."""
    taps = weight.shape[1]
    sequence = x.transpose(1, 2)

    def convolve(padding: tuple[int, int], kernel: Tensor) -> Tensor:
        padded = F.pad(sequence, padding)
        return F.conv1d(padded, kernel.unsqueeze(1), bias, groups=x.shape[2]).transpose(1, 2)

    return F.silu(
        torch.stack([convolve((taps - 1, 0), weight), convolve((0, taps - 1), weight.flip(1))])
    )


def adjacent(x: Tensor) -> Tensor:
    """Return (..., channels) with adjacent channels, as kernels read them; copied only if needed."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()
