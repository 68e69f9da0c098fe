"""The selective scan in Triton: NVIDIA GPUs with nothing to build, forward and backward.

The kernels are in ``triton_kernels``. The forward pass keeps the states at the ends of chunks of
`FORWARD_CHUNK` steps for as long as it runs, and no states at all afterwards; the backward pass
makes those of chunks of `BACKWARD_CHUNK` steps again and computes the chunks from them. With
``TRITON_INTERPRET=1``, set before Triton is first imported, the same kernels run on CPU tensors,
slowly, for tests and for finding faults.
"""

import importlib
import importlib.util
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

import torch
from torch import Tensor

from . import chunked

# Powers of two. A chunk's steps lie in the registers of the backward kernel, which spills them with
# 16; the fewer steps, the more memory do the states between them take for the time of a pass.
FORWARD_CHUNK = 64
BACKWARD_CHUNK = 8
# A channel on each lane of a warp.
_LANES = 32
_CARRY_GROUP = 16

# Found out once, at import: torch.compile traces the choice of an engine.
_INSTALLED = importlib.util.find_spec('triton') is not None
_INTERPRETED = os.environ.get('TRITON_INTERPRET', '0').lower() in ('1', 'true', 'yes', 'on')


def unavailable_reason() -> str | None:
    """Return why the engine cannot run here, or None if it can."""
    if not _INSTALLED:
        return (
            "Triton is not installed. It comes with PyTorch's builds for NVIDIA GPUs on Linux; "
            'install one of those, or "pip install triton".'
        )
    if not _INTERPRETED and not torch.cuda.is_available():
        return 'PyTorch finds no GPU here. (TRITON_INTERPRET=1 runs the kernels on the CPU, for tests.)'
    return None


def unsupported_reason(u: Tensor) -> str | None:
    """Return why the engine does not take such an input, or None if it does."""
    device = 'cpu' if _INTERPRETED else 'cuda'
    if u.device.type != device:
        return f"it runs on {device.upper()} tensors here, not on '{u.device.type}'"
    if u.dtype == torch.float64:
        return 'it computes in float32, not in float64'
    return None


def _kernels() -> ModuleType:
    return importlib.import_module('.triton_kernels', __package__)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def _rows(*directions: Tensor) -> tuple[Tensor, Tensor, int, int]:
    """Return the tensors (B, L, C) of one or two directions, and their strides.

    They get adjacent channels and equal strides, by a copy only where they lack them. A single
    direction is returned twice; the kernels do not look at the second.
    """
    # The stride of a dimension of size one says nothing.
    layouts = {
        tuple(s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1) for x in directions
    }
    first, last = directions[0], directions[-1]
    if len(layouts) > 1 or (first.shape[2] > 1 and first.stride(2) != 1):
        first, last = first.contiguous(), last.contiguous()
    return first, last, first.stride(0), first.stride(1)


class Sequences:
    """One or two directions of a scan, their chunks, and what every kernel is told of them.

    Args:
        u: Input of each direction, (B, L, D).
        delta: Time steps of each.
        A: (D, N).
        B: Input matrices of each, (B, L, N).
        C: Output matrices of each.
        D: (D,) or None.
        reverse: The order of a single direction. Of two, the second is the reverse one.
        chunk: Steps of a chunk.
    """

    def __init__(
        self,
        u: Sequence[Tensor],
        delta: Sequence[Tensor],
        A: Tensor,
        B: Sequence[Tensor],
        C: Sequence[Tensor],
        D: Tensor | None,
        reverse: bool,
        chunk: int,
    ) -> None:
        self.directions = len(u)
        self.batch, self.length, self.channels = u[0].shape
        self.num_states = A.shape[1]
        self.u, self.delta, self.B, self.C = _rows(*u), _rows(*delta), _rows(*B), _rows(*C)
        self.A = A.contiguous()
        self.D = None if D is None else D.contiguous()
        self.reverse = int(reverse)
        self.chunk = chunk
        self.chunks = -(-self.length // chunk)
        self.sequences = self.directions * self.batch
        self.lanes = min(_LANES, _power_of_two(self.channels))
        self.blocks = -(-self.channels // self.lanes)
        self.grid = (self.chunks, self.blocks, self.sequences)
        self.sizes = (self.batch, self.length, self.chunks, self.channels, self.num_states)
        self.padded_states = _power_of_two(self.num_states)
        # A lane holds as many states in registers as leave room for the rest.
        self.warps = min(8, max(1, self.padded_states // 32))
        self.sums = _empty(u[0], self.sequences, self.chunks, self.channels)

    def boundary_states(self) -> Tensor:
        """Return the state before every chunk, (S, chunks, N, D)."""
        return self._carry(self.u, self.B, adjoint=0)

    def boundary_adjoints(self, grad_y: tuple[Tensor, Tensor, int, int]) -> Tensor:
        """Return what reaches every chunk's last state from behind; after `boundary_states`."""
        return self._carry(grad_y, self.C, adjoint=1)

    def _carry(
        self,
        values: tuple[Tensor, Tensor, int, int],
        matrix: tuple[Tensor, Tensor, int, int],
        adjoint: int,
    ) -> Tensor:
        kernels = _kernels()
        states = _empty(self.A, self.sequences, self.chunks, self.num_states, self.channels)
        kernels.chunk_states[self.grid](
            *values[:2],
            *self.delta[:2],
            self.A,
            *matrix[:2],
            states,
            self.sums,
            *self.sizes,
            *values[2:],
            *self.delta[2:],
            *matrix[2:],
            self.reverse,
            CHUNK=self.chunk,
            STATES=self.padded_states,
            CHANNELS=self.lanes,
            ADJOINT=adjoint,
            num_warps=self.warps,
            enable_fp_fusion=True,
        )
        elements = self.num_states * self.channels
        lanes = min(_LANES, _power_of_two(elements))
        kernels.carry_states[(-(-elements // lanes), self.sequences)](
            self.A,
            self.sums,
            states,
            self.batch,
            self.chunks,
            self.channels,
            self.num_states,
            self.reverse,
            GROUP=_CARRY_GROUP,
            ELEMENTS=lanes,
            ADJOINT=adjoint,
            num_warps=1,
            enable_fp_fusion=True,
        )
        return states

    def outputs(self) -> Tensor:
        """Return y of every direction, (directions, B, L, D)."""
        states = self.boundary_states()
        y = _empty(self.A, self.directions, self.batch, self.length, self.channels)
        _kernels().chunk_outputs[self.grid](
            *self.u[:2],
            *self.delta[:2],
            self.A,
            *self.B[:2],
            *self.C[:2],
            self.A if self.D is None else self.D,
            states,
            y,
            *self.sizes,
            *self.u[2:],
            *self.delta[2:],
            *self.B[2:],
            *self.C[2:],
            self.reverse,
            CHUNK=self.chunk,
            STATES=self.padded_states,
            CHANNELS=self.lanes,
            HAS_D=self.D is not None,
            num_warps=self.warps,
            enable_fp_fusion=True,
        )
        return y

    def gradients(self, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of u, delta, A, B and C; A's summed over the directions.

        Args:
            grad_y: Gradient of y, (B, L, D), the same for all directions.

        Returns:
            (directions, B, L, D) twice, (D, N), and (directions, B, L, N) twice.
        """
        gradient = _rows(grad_y)
        states = self.boundary_states()
        adjoints = self.boundary_adjoints(gradient)
        shape = (self.directions, self.batch, self.length)
        grad_u, grad_delta = (_empty(self.A, *shape, self.channels) for _ in range(2))
        grad_B, grad_C = (_empty(self.A, self.blocks, *shape, self.num_states) for _ in range(2))
        _kernels().chunk_gradients[self.grid](
            *self.u[:2],
            *self.delta[:2],
            self.A,
            *self.B[:2],
            *self.C[:2],
            self.A if self.D is None else self.D,
            gradient[0],
            states,
            adjoints,
            grad_u,
            grad_delta,
            grad_B,
            grad_C,
            *self.sizes,
            *self.u[2:],
            *self.delta[2:],
            *self.B[2:],
            *self.C[2:],
            *gradient[2:],
            self.reverse,
            CHUNK=self.chunk,
            CHANNELS=self.lanes,
            HAS_D=self.D is not None,
            num_warps=1,
            enable_fp_fusion=True,
        )
        # The kernel has put each chunk's part of A's gradient in the place of its states.
        grad_A = states.sum((0, 1)).t().contiguous()
        return grad_u, grad_delta, grad_A, grad_B.sum(0), grad_C.sum(0)


def on_device_of(x: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's device the current one, on which Triton launches."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Tensor:
    """Run the scan; shapes as in `rs4d.ops.selective_scan`, all float32.

    Returns:
        y, (B, L, D).
    """
    if not u.numel() or not A.numel():  # nothing to launch
        return chunked.forward(u, delta, A, B, C, D, reverse)
    with on_device_of(u):
        return Sequences([u], [delta], A, [B], [C], D, reverse, FORWARD_CHUNK).outputs()[0]


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
    """
    if not u.numel() or not A.numel():
        return chunked.backward(grad_y, u, delta, A, B, C, D, reverse)
    with on_device_of(u):
        scan = Sequences([u], [delta], A, [B], [C], D, reverse, BACKWARD_CHUNK)
        grad_u, grad_delta, grad_A, grad_B, grad_C = scan.gradients(grad_y)
    grad_D = None if D is None else (grad_y * u).sum((0, 1))
    return grad_u[0], grad_delta[0], grad_A, grad_B[0], grad_C[0], grad_D
