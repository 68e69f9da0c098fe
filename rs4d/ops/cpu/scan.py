"""The scan of one or two directions in one call of the C++ kernels, as a PyTorch operator.

Fused are the bias and softplus of delta, the scans, the skip, the mean and the gate. The kernels keep
the states in cache, one vector of channels at a time; the backward pass computes each chunk of time
again from the states before it, which the forward pass has kept.
"""

import torch
from torch import Tensor

from ..definition import adjacent
from .library import (
    Direction,
    DirectionGrads,
    Scan,
    ScanGrads,
    boundaries_size,
    call,
    contiguous,
    empty,
    library,
    num_threads,
    number_type,
    pointer,
    rows,
)

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]


def scan(*tensors: Tensor | None, reverse: bool) -> Tensor:
    """Scan on the CPU; arguments and result as `rs4d.ops.definition.scan_by`.

    Sequences are all float32, bfloat16 or float16, parameters float32; inside all is float32.
    """
    differentiates = torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in tensors
    )
    return _forward(*tensors, reverse, differentiates)[0]


def scan_into(
    y: Tensor,
    *inputs: Tensor | None,
    reverse: bool = False,
    delta_weight: Tensor | None = None,
    boundaries: Tensor | None = None,
) -> None:
    """Scan into given memory.

    Args:
        y: Where the result goes, (B, L, D) with adjacent channels. It may be ``u[0]``, of which
            everything is read before the same place is written.
        *inputs: The tensors of `scan`, in its order.
        reverse: Order of a single direction.
        delta_weight: (D, R) if the deltas given are (S, B, L, R), to be multiplied with its transpose.
            The kernel does that on its way, which saves writing and reading (S, B, L, D).
        boundaries: Memory of `boundaries_size` for each direction, where the states before each chunk
            of time shall go.
    """
    tensors = _prepare(inputs)  # type: ignore[arg-type]
    weight = None if delta_weight is None else delta_weight.t().contiguous()
    partial = _partial_for(y, tensors)
    problem = _problem(tensors, reverse, partial, boundaries, weight)
    call(library().rs4d_scan_forward, problem, rows(y))


def scan_span(
    y: Tensor,
    *inputs: Tensor | None,
    index: int,
    delta_weight: Tensor,
    partial: Tensor,
    state: Tensor,
) -> None:
    """Scan a span of steps in one of two directions.

    All spans are to be scanned in direction 0, from the first one on, and then in direction 1, from the
    last one back.

    Args:
        y: As for `scan_into`; written in direction 1.
        *inputs: The span's part of what `scan_into` takes, of one direction.
        index: The direction.
        delta_weight: As for `scan_into`.
        partial: The span's (B, L, D), float32, which direction 0 leaves to direction 1.
        state: (B, N, D in whole vectors), float32, to begin each direction with zeros; it goes from
            span to span.
    """
    tensors = _prepare(inputs)  # type: ignore[arg-type]
    weight = delta_weight.t().contiguous()
    problem = _problem(tensors, False, partial, None, weight)
    problem.directions, problem.scale = 2, 0.5
    problem.first, problem.last = index, index + 1
    problem.direction[index] = problem.direction[0]
    problem.direction[index].state = pointer(state)
    problem.direction[index].reverse = index
    call(library().rs4d_scan_forward, problem, rows(y))


def _prepare(inputs: Inputs) -> Inputs:
    """Make every tensor readable by the kernels, copying only where the strides don't fit."""
    u, delta, A, B, C, D, delta_bias, z = inputs
    u, delta, B, C = (adjacent(x) for x in (u, delta, B, C))
    z = None if z is None else adjacent(z)
    return u, delta, A.contiguous(), B, C, contiguous(D), contiguous(delta_bias), z


def _partial_for(result: Tensor, inputs: Inputs) -> Tensor:
    """Return where the first direction leaves what the second one adds to, unrounded."""
    one_direction = inputs[0].shape[0] == 1
    return result if one_direction or result.dtype == torch.float32 else empty(*result.shape)


def _problem(
    tensors: Inputs,
    reverse: bool,
    partial: Tensor,
    boundaries: Tensor | None,
    delta_weight: Tensor | None = None,
) -> Scan:
    """Describe the problem; the tensors have to outlive its use. No boundaries may be empty ones."""
    u, delta, A, B, C, D, delta_bias, z = tensors
    directions, batch, length, channels = u.shape
    problem = Scan(
        batch=batch,
        length=length,
        channels=channels,
        states=A.shape[1],
        threads=num_threads(),
        directions=directions,
        first=0,
        last=directions,
        softplus=int(delta_bias is not None),
        scale=1 / directions,
        A=pointer(A),
        D=pointer(D),
        delta_bias=pointer(delta_bias),
        delta_rank=0 if delta_weight is None else delta_weight.shape[0],
        delta_weight=pointer(delta_weight),
        type=number_type(u),
        z=rows(z),
        partial=rows(partial),
    )
    kept = boundaries is not None and boundaries.numel() > 0
    for i in range(directions):
        problem.direction[i] = Direction(
            *(rows(x[i]) for x in (u, delta, B, C)),
            pointer(boundaries[i]) if kept else None,  # type: ignore[index]
            None,
            int(reverse or i == 1),
        )
    return problem


@torch.library.custom_op('rs4d::scan_cpu', mutates_args=())
def _forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    z: Tensor | None,
    reverse: bool,
    keep_boundaries: bool,
) -> tuple[Tensor, Tensor]:
    """Return y and, for the backward pass, the states before each chunk of time (or nothing)."""
    y, boundaries = empty(*u.shape[1:], dtype=u.dtype), _boundaries(u, A, keep_boundaries)
    scan_into(y, u, delta, A, B, C, D, delta_bias, z, reverse=reverse, boundaries=boundaries)
    return y, boundaries


def _boundaries(u: Tensor, A: Tensor, kept: bool) -> Tensor:
    # An op cannot return an optional tensor.
    size = boundaries_size(u, A.shape[1]) if kept else (0,)
    return u.new_empty(size, dtype=torch.float32)


@torch.library.custom_op('rs4d::scan_cpu_backward', mutates_args=())
def _backward(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    z: Tensor | None,
    boundaries: Tensor,
    reverse: bool,
) -> list[Tensor]:
    tensors = _prepare((u, delta, A, B, C, D, delta_bias, z))
    grad_y = adjacent(grad_y)
    directions, batch, length, channels = u.shape
    states = A.shape[1]
    grad_z = empty(*u.shape[1:], dtype=u.dtype)
    partial = _partial_for(grad_z, tensors)
    kernels, problem = library(), _problem(tensors, reverse, partial, boundaries)
    blocks = kernels.rs4d_scan_blocks(problem)

    grad_u, grad_delta = (empty(*u.shape, dtype=u.dtype) for _ in range(2))
    grad_B, grad_C = (empty(directions, blocks, batch, length, states) for _ in range(2))
    grad_A = empty(batch, channels, states)
    grad_D, grad_bias = empty(batch, channels), empty(batch, channels)
    grads = ScanGrads(
        blocks=blocks,
        y=rows(grad_y),
        z=rows(grad_z),
        A=pointer(grad_A),
        D=pointer(grad_D),
        delta_bias=pointer(grad_bias),
    )
    for i in range(directions):
        grads.direction[i] = DirectionGrads(
            rows(grad_u[i]), rows(grad_delta[i]), pointer(grad_B[i]), pointer(grad_C[i])
        )
    call(kernels.rs4d_scan_backward, problem, grads)
    # In a fixed order over the blocks, so that equal threads give equal gradients.
    rows_sums = (x.sum(1).to(u.dtype) for x in (grad_B, grad_C))
    sums = grad_A.sum(0), *rows_sums, grad_D.sum(0), grad_bias.sum(0)
    found = [grad_u, grad_delta, *sums, grad_z]
    return [
        grad_y.new_empty(0) if x is None else grad for x, grad in zip(tensors, found, strict=True)
    ]


@_forward.register_fake
def _(u, delta, A, B, C, D, delta_bias, z, reverse, keep_boundaries):
    return u.new_empty(u.shape[1:]), _boundaries(u, A, keep_boundaries)


@_backward.register_fake
def _(grad_y, *inputs):
    return [grad_y.new_empty(0) if x is None else x.new_empty(x.shape) for x in inputs[:-2]]


def _save(ctx, inputs, output):
    boundaries = output[1]
    *tensors, ctx.reverse, _ = inputs
    ctx.mark_non_differentiable(boundaries)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, boundaries)


def _differentiate(ctx, grad_y, _):
    tensors = ctx.saved_tensors  # activation checkpointing lets them be unpacked only once
    grads = torch.ops.rs4d.scan_cpu_backward(grad_y, *tensors, ctx.reverse)
    kept = (None if x is None else grad for x, grad in zip(tensors[:-1], grads, strict=True))
    return *kept, None, None


_forward.register_autograd(_differentiate, setup_context=_save)
