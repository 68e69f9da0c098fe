"""The scan of one or two directions by the Triton kernels, as a PyTorch operator.

The forward pass keeps the states at the ends of chunks of `FORWARD_CHUNK` steps for as long as it
runs, and no states at all afterwards; the backward pass makes those of chunks of `BACKWARD_CHUNK`
steps again and computes the chunks from them. The bias and softplus of delta, the mean and the gate
stay in PyTorch: they are one pass over memory each, and Triton has no exact log1p.
"""

import importlib
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

import torch
from torch import Tensor

from ..definition import adjacent, gated, time_steps

# Powers of two. A chunk's steps lie in the registers of the backward kernel, which spills them with
# 16; the fewer steps, the more memory do the states between them take for the time of a pass.
FORWARD_CHUNK = 64
BACKWARD_CHUNK = 8
# A channel on each lane of a warp.
_LANES = 32
_CARRY_GROUP = 16


def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    z: Tensor | None,
    *,
    reverse: bool,
) -> Tensor:
    """Scan float32 tensors on a GPU; arguments and result as `rs4d.ops.definition.scan_by`."""
    y = _sum_of_scans(u, time_steps(delta, delta_bias), A, B, C, D, reverse)
    return gated(y / u.shape[0], z)


class _Scan:
    """A scan's sequences, its chunks of ``chunk`` steps, and what every kernel is told of them."""

    def __init__(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        reverse: bool,
        chunk: int,
    ) -> None:
        self.u, self.delta, self.B, self.C = (adjacent(x) for x in (u, delta, B, C))
        self.A, self.has_D = A.contiguous(), D is not None
        self.D = self.A if D is None else D.contiguous()
        directions, batch, length, channels = u.shape
        self.num_states = A.shape[1]
        self.reverse = int(reverse and directions == 1)
        self.chunk = chunk
        self.chunks = -(-length // chunk)
        self.sequences = directions * batch
        self.lanes = min(_LANES, _power_of_two(channels))
        self.blocks = -(-channels // self.lanes)
        self.grid = (self.chunks, self.blocks, self.sequences)
        self.sizes = (batch, length, self.chunks, channels, self.num_states)
        self.padded_states = _power_of_two(self.num_states)
        # A lane holds as many states in registers as leave room for the rest.
        self.warps = min(8, max(1, self.padded_states // 32))
        self.sums = self.empty(self.sequences, self.chunks, channels)

    def empty(self, *shape: int) -> Tensor:
        """Return memory beside the inputs."""
        return torch.empty(shape, dtype=torch.float32, device=self.A.device)

    def boundary_states(self) -> Tensor:
        """Return the state before every chunk, (sequences, chunks, N, D)."""
        return self._carry(self.u, self.B, adjoint=0)

    def boundary_adjoints(self, grad_y: Tensor) -> Tensor:
        """Return what reaches every chunk's last state from behind; after `boundary_states`."""
        return self._carry(grad_y, self.C, adjoint=1)

    def _carry(self, values: Tensor, matrix: Tensor, adjoint: int) -> Tensor:
        kernels = _kernels()
        states = self.empty(self.sequences, self.chunks, self.num_states, self.u.shape[3])
        kernels.chunk_states[self.grid](
            values,
            self.delta,
            self.A,
            matrix,
            states,
            self.sums,
            *self.sizes,
            *_strides(values, self.delta, matrix),
            self.reverse,
            CHUNK=self.chunk,
            STATES=self.padded_states,
            CHANNELS=self.lanes,
            ADJOINT=adjoint,
            num_warps=self.warps,
            enable_fp_fusion=True,
        )
        elements = self.num_states * self.u.shape[3]
        lanes = min(_LANES, _power_of_two(elements))
        batch, _, *rest = self.sizes
        kernels.carry_states[(-(-elements // lanes), self.sequences)](
            self.A,
            self.sums,
            states,
            batch,
            *rest,
            self.reverse,
            GROUP=_CARRY_GROUP,
            ELEMENTS=lanes,
            ADJOINT=adjoint,
            num_warps=1,
            enable_fp_fusion=True,
        )
        return states

    def outputs(self) -> Tensor:
        """Return y of every direction, (S, B, L, D)."""
        states, y = self.boundary_states(), self.empty(*self.u.shape)
        _kernels().chunk_outputs[self.grid](
            self.u,
            self.delta,
            self.A,
            self.B,
            self.C,
            self.D,
            states,
            y,
            *self.sizes,
            *_strides(self.u, self.delta, self.B, self.C),
            self.reverse,
            CHUNK=self.chunk,
            STATES=self.padded_states,
            CHANNELS=self.lanes,
            HAS_D=self.has_D,
            num_warps=self.warps,
            enable_fp_fusion=True,
        )
        return y

    def gradients(self, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of u, delta, A, B and C, given that of y (B, L, D)."""
        grad_y = adjacent(grad_y).expand(self.u.shape)
        states, adjoints = self.boundary_states(), self.boundary_adjoints(grad_y)
        grad_u, grad_delta = self.empty(*self.u.shape), self.empty(*self.u.shape)
        grad_B, grad_C = (self.empty(self.blocks, *self.B.shape) for _ in range(2))
        _kernels().chunk_gradients[self.grid](
            self.u,
            self.delta,
            self.A,
            self.B,
            self.C,
            self.D,
            grad_y,
            states,
            adjoints,
            grad_u,
            grad_delta,
            grad_B,
            grad_C,
            *self.sizes,
            *_strides(self.u, self.delta, self.B, self.C, grad_y),
            self.reverse,
            CHUNK=self.chunk,
            CHANNELS=self.lanes,
            HAS_D=self.has_D,
            num_warps=1,
            enable_fp_fusion=True,
        )
        # The kernel has put each chunk's part of A's gradient in the place of its states.
        grad_A = states.sum((0, 1)).t().contiguous()
        return grad_u, grad_delta, grad_A, grad_B.sum(0), grad_C.sum(0)


def _kernels() -> ModuleType:
    return importlib.import_module('.kernels', __package__)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _strides(*tensors: Tensor) -> list[int]:
    return [stride for x in tensors for stride in x.stride()[:3]]


def _on_device_of(x: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's device the current one, on which Triton launches."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


@torch.library.custom_op('rs4d::scan_triton', mutates_args=())
def _sum_of_scans(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Tensor:
    with _on_device_of(u):
        return _Scan(u, delta, A, B, C, D, reverse, FORWARD_CHUNK).outputs().sum(0)


@torch.library.custom_op('rs4d::scan_triton_backward', mutates_args=())
def _backward(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    with _on_device_of(u):
        return _Scan(u, delta, A, B, C, D, reverse, BACKWARD_CHUNK).gradients(grad_y)


@_sum_of_scans.register_fake
def _(u, *rest):
    return u.new_empty(u.shape[1:])


@_backward.register_fake
def _(grad_y, *inputs):
    return tuple(x.new_empty(x.shape) for x in inputs[:5])


def _save(ctx, inputs, output):
    *tensors, ctx.reverse = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, grad_y):
    tensors = ctx.saved_tensors  # activation checkpointing lets them be unpacked only once
    grads = torch.ops.rs4d.scan_triton_backward(grad_y, *tensors, ctx.reverse)
    u, *_, D = tensors
    grad_D = None if D is None else (grad_y * u.sum(0)).sum((0, 1))
    return *grads, grad_D, None


_sum_of_scans.register_autograd(_differentiate, setup_context=_save)
