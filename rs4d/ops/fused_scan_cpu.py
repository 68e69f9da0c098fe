"""The bidirectional scan of a mixer in one call of the C++ kernels, as a PyTorch operator.

Fused are the bias and softplus of delta, both scans, the skip, the average and the gate. The plain
definition is in `rs4d.ops.fused_mamba`.
"""

import torch
from torch import Tensor

from . import cpu_kernels
from .cpu_kernels import Direction, DirectionGrads, Scan, ScanGrads, adjacent, pointer, rows

# Those of the operator's tensors that are sequences (B, L, channels); the others are parameters.
_SEQUENCES = (0, 1, 2, 3, 5, 6, 7, 8, 11)


def _prepare(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Make every tensor readable by the kernels, copying only where the strides don't fit."""
    return [adjacent(x) if i in _SEQUENCES else x.contiguous() for i, x in enumerate(tensors)]


def _scan(
    tensors: list[Tensor],
    delta_weight: Tensor | None = None,
    boundaries: Tensor | None = None,
) -> Scan:
    """Describe the problem; the tensors have to outlive its use.

    ``boundaries`` are those of the two directions, where the forward pass leaves them; empty ones are
    as good as none.
    """
    u_f, u_b, delta_f, delta_b, A, B_f, C_f, B_b, C_b, D, delta_bias, z = tensors
    batch, length, channels = u_f.shape
    scan = Scan(
        batch=batch,
        length=length,
        channels=channels,
        states=A.shape[1],
        threads=cpu_kernels.num_threads(),
        directions=2,
        softplus=1,
        scale=0.5,
        A=pointer(A),
        D=pointer(D),
        delta_bias=pointer(delta_bias),
        delta_rank=0 if delta_weight is None else delta_weight.shape[0],
        delta_weight=pointer(delta_weight),
        z=rows(z),
    )
    kept: list[int | None] = [None, None]
    if boundaries is not None and boundaries.numel():
        kept = [pointer(x) for x in boundaries]
    given = (u_f, delta_f, B_f, C_f), (u_b, delta_b, B_b, C_b)
    for i, (arrays, states) in enumerate(zip(given, kept, strict=True)):
        scan.direction[i] = Direction(*map(rows, arrays), states, i)
    return scan


def scan_into(
    y: Tensor,
    *inputs: Tensor,
    delta_weight: Tensor | None = None,
    boundaries: Tensor | None = None,
) -> None:
    """Compute ``rs4d.ops.bidirectional_selective_scan`` of float32 tensors into given memory.

    Args:
        y: Where the result goes, (B, L, D) with adjacent channels. It may be ``u_forward``, of which
            everything is read before the same place is written.
        *inputs: The arguments of :func:`bidirectional_scan_cpu`, in its order.
        delta_weight: (D, R) if the deltas given are (B, L, R), to be multiplied with its transpose.
            The kernel does that on its way, which saves writing and reading (B, L, D).
        boundaries: Memory of ``cpu_kernels.empty_boundaries`` for each direction, where the states
            before each chunk of time shall go.
    """
    tensors = _prepare(inputs)
    weight = None if delta_weight is None else delta_weight.t().contiguous()
    if y.numel():
        scan = _scan(tensors, weight, boundaries)
        cpu_kernels.call(cpu_kernels.library().rs4d_scan_forward, scan, rows(y))


def bidirectional_scan_cpu(*inputs: Tensor) -> Tensor:
    """Compute ``rs4d.ops.bidirectional_selective_scan`` for float32 tensors on the CPU.

    Args:
        *inputs: The twelve tensors of that function, in its order.

    Returns:
        (B, L, D).
    """
    differentiates = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    return _forward(*inputs, differentiates)[0]


@torch.library.custom_op('rs4d::bidirectional_scan_cpu', mutates_args=())
def _forward(
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
    keep_boundaries: bool,
) -> tuple[Tensor, Tensor]:
    """Return y and, for the backward pass, the states before each chunk of time (or nothing)."""
    given = (u_forward, u_backward, delta_forward, delta_backward, A, B_forward, C_forward)
    y = torch.empty(u_forward.shape, dtype=torch.float32, device='cpu')
    boundaries = _boundaries(u_forward, A, keep_boundaries)
    scan_into(
        y,
        *given,
        B_backward,
        C_backward,
        D,
        delta_bias,
        z,
        boundaries=boundaries,
    )
    return y, boundaries


def _boundaries(u: Tensor, A: Tensor, kept: bool) -> Tensor:
    # An op cannot return an optional tensor.
    batch, length, channels = u.shape
    size = cpu_kernels.boundaries_size(batch, length, channels, A.shape[1]) if kept else (0,)
    return torch.empty((2, *size), dtype=torch.float32, device=u.device)


@torch.library.custom_op('rs4d::bidirectional_scan_cpu_backward', mutates_args=())
def _backward(
    grad_y: Tensor,
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
    boundaries: Tensor,
) -> list[Tensor]:
    given = (u_forward, u_backward, delta_forward, delta_backward, A, B_forward, C_forward)
    tensors = _prepare((*given, B_backward, C_backward, D, delta_bias, z))
    grad_y = adjacent(grad_y)
    if not grad_y.numel():
        return [torch.zeros_like(x) for x in tensors]
    batch, length, channels = u_forward.shape
    states = A.shape[1]
    scan = _scan(tensors, boundaries=boundaries)
    kernels = cpu_kernels.library()
    blocks = kernels.rs4d_scan_blocks(scan)

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device='cpu')

    grad_u, grad_delta = ([empty(batch, length, channels) for _ in range(2)] for _ in range(2))
    grad_B, grad_C = ([empty(blocks, batch, length, states) for _ in range(2)] for _ in range(2))
    grad_z = empty(batch, length, channels)
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
    for i in range(2):
        grads.direction[i] = DirectionGrads(
            rows(grad_u[i]), rows(grad_delta[i]), pointer(grad_B[i]), pointer(grad_C[i])
        )
    cpu_kernels.call(kernels.rs4d_scan_backward, scan, grads)
    # In a fixed order over the blocks, so that equal threads give equal gradients.
    grad_B, grad_C = [x.sum(0) for x in grad_B], [x.sum(0) for x in grad_C]
    return [
        *grad_u,
        *grad_delta,
        grad_A.sum(0),
        grad_B[0],
        grad_C[0],
        grad_B[1],
        grad_C[1],
        grad_D.sum(0),
        grad_bias.sum(0),
        grad_z,
    ]


def _empty(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_forward.register_fake
def _(u_forward, u_backward, delta_forward, delta_backward, A, *rest):
    return _empty(u_forward), _boundaries(u_forward, A, rest[-1])


@_backward.register_fake
def _(grad_y, *tensors):
    return [_empty(x) for x in tensors[:-1]]


def _save(ctx, inputs, output):
    boundaries = output[1]
    ctx.mark_non_differentiable(boundaries)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:-1], boundaries)


def _differentiate(ctx, grad_y, _):
    return *torch.ops.rs4d.bidirectional_scan_cpu_backward(grad_y, *ctx.saved_tensors), None


_forward.register_autograd(_differentiate, setup_context=_save)
