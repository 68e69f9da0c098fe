"""The selective scan in plain PyTorch, fast enough to use: chunks of time advance together.

The sequence is cut into segments, a segment into K chunks of T steps. A loop over the T steps moves
all chunks of the segment at once; a short loop over the chunks then hands the states on. No product
of decays is ever divided by, and every exponent is at most zero, so that large delta and A are safe.
For the backward pass the states at the segments' boundaries are kept and one segment at a time is
run again: its memory grows with L D + SEGMENT D N, not with L D N.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .definition import scan_by

SEGMENT = 512


def _recurrence(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for start in range(0, u.shape[1], SEGMENT):
        parts = [x[:, start : start + SEGMENT] for x in (u, delta, B, C)]
        if torch.is_grad_enabled():
            y, state = checkpoint(
                _segment, state, A, *parts, use_reentrant=False, preserve_rng_state=False
            )
        else:
            y, state = _segment(state, A, *parts)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


# The engine `chunked`.
scan = partial(scan_by, _recurrence)


def _segment(
    state: Tensor, A: Tensor, u: Tensor, delta: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor]:
    """Return y and the state after the segment, given the state (B, D, N) before it."""
    length = u.shape[1]
    u, delta, B, C = (_cut(x) for x in (u, delta, B, C))
    steps = [*zip(*(x.unbind(2) for x in (u, delta, B, C)), strict=True)]
    # All chunks from zero, then what each hands to the next.
    local = u.new_zeros(*u.shape[:2], *A.shape)
    for u_t, delta_t, B_t, _ in steps:
        local = _advance(local, A, u_t, delta_t, B_t)
    decay = torch.exp(delta.sum(2).unsqueeze(-1) * A)
    first = []
    for decay_k, local_k in zip(decay.unbind(1), local.unbind(1), strict=True):
        first.append(state)
        state = torch.addcmul(local_k, decay_k, state)
    h = torch.stack(first, dim=1)
    y = []
    for u_t, delta_t, B_t, C_t in steps:
        h = _advance(h, A, u_t, delta_t, B_t)
        y.append((h @ C_t.unsqueeze(-1)).squeeze(-1))
    return torch.stack(y, dim=2).flatten(1, 2)[:, :length], state


def _cut(x: Tensor) -> Tensor:
    """Cut (B, L, channels) into chunks, (B, K, T, channels)."""
    length = x.shape[1]
    steps = max(1, round(math.sqrt(length)))
    # A step with delta = 0 leaves the state as it is, so zeros at the end are harmless.
    return F.pad(x, (0, 0, 0, -length % steps)).unflatten(1, (-1, steps))


def _advance(h: Tensor, A: Tensor, u: Tensor, delta: Tensor, B: Tensor) -> Tensor:
    """Move the states (B, K, D, N) of all chunks by one step."""
    decay = torch.exp(delta.unsqueeze(-1) * A)
    return torch.addcmul((delta * u).unsqueeze(-1) * B.unsqueeze(-2), decay, h)
