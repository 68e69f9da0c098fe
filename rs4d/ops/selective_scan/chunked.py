"""The selective scan in plain PyTorch, fast enough to use: chunks of time advance together.

The sequence is cut into segments, a segment into K chunks of T steps. A loop over the T steps moves
all chunks of the segment at once; a short loop over the chunks then hands the states on. No product
of decays is ever divided by, and every exponent is at most zero, so that large delta and A are safe.
The backward pass keeps the states at the segments' boundaries and recomputes one segment at a time:
its memory grows with L D + SEGMENT D N, not with L D N.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SEGMENT = 1024


class _Chunks(NamedTuple):
    """One segment, each tensor cut into (B, K, T, channels); views where the length divides."""

    u: Tensor
    delta: Tensor
    B: Tensor
    C: Tensor


def unavailable_reason() -> None:
    """Return None: it runs wherever PyTorch does."""
    return None


def unsupported_reason(u: Tensor) -> None:
    """Return None: it takes tensors on any device."""
    return None


def _segments(length: int, reverse: bool) -> list[slice]:
    """Cut the sequence, in the order of the scan."""
    cuts = [slice(i, min(i + SEGMENT, length)) for i in range(0, length, SEGMENT)]
    return cuts[::-1] if reverse else cuts


def _cut(x: Tensor) -> Tensor:
    length = x.shape[1]
    steps = max(1, round(math.sqrt(length)))
    # A step with delta = 0 leaves the state as it is, so zeros at the end are harmless: they come
    # last, or, in a reverse scan, first, when the state is carried over unchanged.
    x = F.pad(x, (0, 0, 0, -length % steps))
    return x.unflatten(1, (-1, steps))


def _steps(steps: int, reverse: bool) -> Iterator[int]:
    return iter(range(steps - 1, -1, -1) if reverse else range(steps))


def _advance(h: Tensor, chunks: _Chunks, A: Tensor, t: int) -> Tensor:
    """Move the states (B, K, D, N) of all chunks by their step t."""
    delta = chunks.delta[:, :, t]
    decay = torch.exp(delta.unsqueeze(-1) * A)
    drive = (delta * chunks.u[:, :, t]).unsqueeze(-1) * chunks.B[:, :, t].unsqueeze(-2)
    return torch.addcmul(drive, decay, h)


def _first_states(h: Tensor, chunks: _Chunks, A: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Find the state before every chunk, (B, K, D, N), and the one after the segment, (B, D, N)."""
    local = chunks.u.new_zeros(*chunks.u.shape[:2], *A.shape)
    for t in _steps(chunks.u.shape[2], reverse):
        local = _advance(local, chunks, A, t)
    decay = torch.exp(chunks.delta.sum(2).unsqueeze(-1) * A)
    first = torch.empty_like(local)
    for k in _steps(local.shape[1], reverse):
        first[:, k] = h
        h = decay[:, k] * h + local[:, k]
    return first, h


def _prepare(u: Tensor, delta: Tensor, B: Tensor, C: Tensor, segment: slice) -> _Chunks:
    return _Chunks(*(_cut(x[:, segment]) for x in (u, delta, B, C)))


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Tensor:
    """Scan; shapes as in `rs4d.ops.selective_scan`."""
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    state = u.new_zeros(u.shape[0], *A.shape)
    for segment in _segments(u.shape[1], reverse):
        chunks = _prepare(u, delta, B, C, segment)
        h, state = _first_states(state, chunks, A, reverse)
        out = torch.empty_like(chunks.u, memory_format=torch.contiguous_format)
        for t in _steps(out.shape[2], reverse):
            h = _advance(h, chunks, A, t)
            out[:, :, t] = (h @ chunks.C[:, :, t].unsqueeze(-1)).squeeze(-1)
        y[:, segment] = out.flatten(1, 2)[:, : segment.stop - segment.start]
    return y if D is None else y.addcmul_(u, D)


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
    """Return the gradients of u, delta, A, B, C and D."""
    segments = _segments(u.shape[1], reverse)
    state = u.new_zeros(u.shape[0], *A.shape)
    boundaries = []
    for segment in segments:
        boundaries.append(state)
        _, state = _first_states(state, _prepare(u, delta, B, C, segment), A, reverse)

    grads = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, delta, B, C)]
    grad_A = torch.zeros_like(A)
    adjoint = torch.zeros_like(state)
    for segment, state in zip(segments[::-1], boundaries[::-1], strict=True):
        chunks = _prepare(u, delta, B, C, segment)
        adjoint, found = _backward_segment(
            adjoint, state, chunks, _cut(grad_y[:, segment]), A, grad_A, reverse
        )
        for grad, part in zip(grads, found, strict=True):
            grad[:, segment] = part.flatten(1, 2)[:, : segment.stop - segment.start]
    grad_u, grad_delta, grad_B, grad_C = grads
    if D is None:
        return grad_u, grad_delta, grad_A, grad_B, grad_C, None
    return grad_u.addcmul_(grad_y, D), grad_delta, grad_A, grad_B, grad_C, (grad_y * u).sum((0, 1))


def _backward_segment(
    adjoint: Tensor,
    state: Tensor,
    chunks: _Chunks,
    grad_y: Tensor,
    A: Tensor,
    grad_A: Tensor,
    reverse: bool,
) -> tuple[Tensor, _Chunks]:
    """Run the adjoint through one segment.

    Args:
        adjoint: What reaches the segment's last state from behind, (B, D, N).
        state: The state before the segment, (B, D, N).
        chunks: The segment's inputs.
        grad_y: Gradient of its output, (B, K, T, D).
        A: (D, N).
        grad_A: Gradient of A, added to in place.
        reverse: Direction of the scan.

    Returns:
        What reaches the state before the segment, and the gradients of u (without the skip), delta,
        B and C in the place of their inputs.
    """
    steps = grad_y.shape[2]
    h, _ = _first_states(state, chunks, A, reverse)
    before = torch.empty(steps, *h.shape, dtype=h.dtype, device=h.device)
    grads = _Chunks(*(torch.empty_like(x, memory_format=torch.contiguous_format) for x in chunks))
    for t in _steps(steps, reverse):
        before[t] = h
        h = _advance(h, chunks, A, t)
        grads.C[:, :, t] = (grad_y[:, :, t].unsqueeze(-2) @ h).squeeze(-2)

    def receive(g: Tensor, t: int) -> Tensor:
        return g + grad_y[:, :, t].unsqueeze(-1) * chunks.C[:, :, t].unsqueeze(-2)

    def decay(t: int) -> Tensor:
        return torch.exp(chunks.delta[:, :, t].unsqueeze(-1) * A)

    # Against the scan: all chunks from zero, then what each hands to the one before it.
    local = torch.zeros_like(h)
    for t in _steps(steps, not reverse):
        local = decay(t) * receive(local, t)
    whole = torch.exp(chunks.delta.sum(2).unsqueeze(-1) * A)
    g = torch.empty_like(local)
    for k in _steps(local.shape[1], not reverse):
        g[:, k] = adjoint
        adjoint = whole[:, k] * adjoint + local[:, k]

    for t in _steps(steps, not reverse):
        g = receive(g, t)
        u, delta, B = chunks.u[:, :, t], chunks.delta[:, :, t], chunks.B[:, :, t]
        carried = decay(t) * g
        through_decay = carried * before[t]
        through_B = (g @ B.unsqueeze(-1)).squeeze(-1)
        grads.u[:, :, t] = through_B * delta
        grads.delta[:, :, t] = through_B * u + (through_decay * A).sum(-1)
        grads.B[:, :, t] = ((delta * u).unsqueeze(-2) @ g).squeeze(-2)
        grad_A += torch.einsum('bkdn,bkd->dn', through_decay, delta)
        g = carried
    return adjoint, grads
