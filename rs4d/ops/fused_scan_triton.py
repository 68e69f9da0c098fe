"""The bidirectional scan of a mixer with both directions in one launch of each Triton kernel.

The bias and softplus of delta, the average and the gate stay in PyTorch: they are one pass over
memory each, and Triton has no exact log1p. The plain definition is in `rs4d.ops.fused_mamba`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .selective_scan import triton_engine
from .selective_scan.triton_engine import BACKWARD_CHUNK, FORWARD_CHUNK, Sequences


def bidirectional_scan_triton(
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
) -> Tensor:
    """Compute ``rs4d.ops.bidirectional_selective_scan`` for float32 tensors on a GPU.

    Args:
        u_forward: (B, L, D), not empty.
        u_backward: (B, L, D).
        delta_forward: Before bias and softplus, (B, L, D).
        delta_backward: Before bias and softplus, (B, L, D).
        A: (D, N).
        B_forward: (B, L, N).
        C_forward: (B, L, N).
        B_backward: (B, L, N).
        C_backward: (B, L, N).
        D: (D,).
        delta_bias: (D,).
        z: Gate before its SiLU, (B, L, D).

    Returns:
        (B, L, D).
    """
    y = _sum_of_scans(
        u_forward,
        u_backward,
        F.softplus(delta_forward + delta_bias),
        F.softplus(delta_backward + delta_bias),
        A,
        B_forward,
        C_forward,
        B_backward,
        C_backward,
        D,
    )
    return 0.5 * y * F.silu(z)


@torch.library.custom_op('rs4d::bidirectional_scan_triton', mutates_args=())
def _sum_of_scans(
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
) -> Tensor:
    u, delta = [u_forward, u_backward], [delta_forward, delta_backward]
    B, C = [B_forward, B_backward], [C_forward, C_backward]
    with triton_engine.on_device_of(A):
        return Sequences(u, delta, A, B, C, D, False, FORWARD_CHUNK).outputs().sum(0)


@torch.library.custom_op('rs4d::bidirectional_scan_triton_backward', mutates_args=())
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of u, delta, A, B, C and D; those of sequences stacked, (2, ...)."""
    u, delta = [u_forward, u_backward], [delta_forward, delta_backward]
    B, C = [B_forward, B_backward], [C_forward, C_backward]
    with triton_engine.on_device_of(A):
        grads = Sequences(u, delta, A, B, C, D, False, BACKWARD_CHUNK).gradients(grad_y)
    return (*grads, (grad_y * (u_forward + u_backward)).sum((0, 1)))


@_sum_of_scans.register_fake
def _(u_forward, *rest):
    return torch.empty_like(u_forward, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(grad_y, u_forward, u_backward, delta_forward, delta_backward, A, B_forward, *rest):
    u, B = u_forward.new_empty(2, *u_forward.shape), B_forward.new_empty(2, *B_forward.shape)
    D = rest[-1]
    return (
        u,
        u.new_empty(u.shape),
        A.new_empty(A.shape),
        B,
        B.new_empty(B.shape),
        D.new_empty(D.shape),
    )


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad_y):
    tensors = ctx.saved_tensors  # activation checkpointing lets them be unpacked only once
    u, delta, A, B, C, D = torch.ops.rs4d.bidirectional_scan_triton_backward(grad_y, *tensors)
    return u[0], u[1], delta[0], delta[1], A, B[0], C[0], B[1], C[1], D


_sum_of_scans.register_autograd(_differentiate, setup_context=_save)
