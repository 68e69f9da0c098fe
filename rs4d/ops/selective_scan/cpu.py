"""The selective scan in C++, forward and backward, for float32 on CPU.

The kernels are in ``rs4d/ops/csrc``. They keep the states in cache, one vector of channels at a
time; the backward pass computes each chunk of time again from the states before it.
"""

import torch
from torch import Tensor

from .. import cpu_kernels
from ..cpu_kernels import Direction, DirectionGrads, Rows, Scan, ScanGrads, adjacent, pointer, rows

# Found out once, at import: torch.compile traces the choice of an engine, but not a look at files.
_UNAVAILABLE = cpu_kernels.unavailable_reason()


def unavailable_reason() -> str | None:
    """Return why the engine cannot run here, or None if it can."""
    return _UNAVAILABLE


def unsupported_reason(u: Tensor) -> str | None:
    """Return why the engine does not take such an input, or None if it does."""
    if u.device.type != 'cpu':
        return f"it runs on CPU tensors, not on '{u.device.type}'"
    if u.dtype == torch.float64:
        return 'it computes in float32, not in float64'
    return None


def _empty(*shape: int) -> Tensor:
    # Whatever the default type and device.
    return torch.empty(shape, dtype=torch.float32, device='cpu')


def _scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Scan:
    batch, length, channels = u.shape
    scan = Scan(
        batch=batch,
        length=length,
        channels=channels,
        states=A.shape[1],
        threads=cpu_kernels.num_threads(),
        directions=1,
        softplus=0,
        scale=1.0,
        A=pointer(A),
        D=pointer(D),
        z=rows(None),
    )
    scan.direction[0] = Direction(rows(u), rows(delta), rows(B), rows(C), None, int(reverse))
    return scan


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Tensor:
    """Run the scan; shapes as in `rs4d.ops.selective_scan`, all float32.

    Returns:
        y, (B, L, D).

    Raises:
        MemoryError: If there is none for the kernel's work space.
    """
    # Kept by name: the structures hold addresses only.
    u, delta, B, C = (adjacent(x) for x in (u, delta, B, C))
    A, D = A.contiguous(), None if D is None else D.contiguous()
    y = _empty(*u.shape)
    if y.numel():
        scan = _scan(u, delta, A, B, C, D, reverse)
        cpu_kernels.call(cpu_kernels.library().rs4d_scan_forward, scan, rows(y))
    return y


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
    """Differentiate the scan.

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
        MemoryError: If there is none for the kernel's work space.
    """
    grad_y, u, delta, B, C = (adjacent(x) for x in (grad_y, u, delta, B, C))
    A, D = A.contiguous(), None if D is None else D.contiguous()
    if not u.numel():
        inputs = (u, delta, A, B, C)
        return (*map(torch.zeros_like, inputs), None if D is None else torch.zeros_like(D))  # type: ignore[return-value]
    batch, length, channels = u.shape
    states = A.shape[1]
    scan = _scan(u, delta, A, B, C, D, reverse)
    kernels = cpu_kernels.library()
    blocks = kernels.rs4d_scan_blocks(scan)
    grad_u, grad_delta = _empty(*u.shape), _empty(*u.shape)
    grad_A = _empty(batch, channels, states)
    grad_D = None if D is None else _empty(batch, channels)
    grad_B, grad_C = (_empty(blocks, batch, length, states) for _ in range(2))
    grads = ScanGrads(
        blocks=blocks, y=rows(grad_y), z=Rows(None, 0, 0), A=pointer(grad_A), D=pointer(grad_D)
    )
    grads.direction[0] = DirectionGrads(
        rows(grad_u), rows(grad_delta), pointer(grad_B), pointer(grad_C)
    )
    cpu_kernels.call(kernels.rs4d_scan_backward, scan, grads)
    return (
        grad_u,
        grad_delta,
        grad_A.sum(0),
        grad_B.sum(0),
        grad_C.sum(0),
        None if grad_D is None else grad_D.sum(0),
    )
