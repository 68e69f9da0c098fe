"""The definition of the selective scan: a loop over time that a person can read.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t
    y_t = C_t h_t + D u_t

(Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, equation 2
with the discretisation of section 2). Every other engine is tested against this one, in float64.
"""

import torch
from torch import Tensor


def unavailable_reason() -> None:
    """Return None: it runs wherever PyTorch does."""
    return None


def unsupported_reason(u: Tensor) -> None:
    """Return None: it takes tensors on any device."""
    return None


def _order(length: int, reverse: bool) -> range:
    return range(length - 1, -1, -1) if reverse else range(length)


def _states(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, reverse: bool) -> Tensor:
    """Return the state after every step, (B, L, D, N)."""
    h = u.new_zeros(u.shape[0], *A.shape)
    states = [h] * u.shape[1]
    for t in _order(u.shape[1], reverse):
        decay = torch.exp(delta[:, t, :, None] * A)
        h = decay * h + (delta[:, t] * u[:, t])[..., None] * B[:, t, None, :]
        states[t] = h
    return torch.stack(states, dim=1)


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, reverse: bool
) -> Tensor:
    """Scan; shapes as in `rs4d.ops.selective_scan`."""
    y = torch.einsum('bldn,bln->bld', _states(u, delta, A, B, reverse), C)
    return y if D is None else y + u * D


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
    """Return the gradients of u, delta, A, B, C and D.

    With the adjoint g_t = C_t grad_y_t + exp(delta_{t+1} A) g_{t+1}, which runs against the scan,
    each gradient is the derivative of one step of the definition times g_t.
    """
    h = _states(u, delta, A, B, reverse)
    grad_u = torch.zeros_like(u)
    grad_delta, grad_A = torch.zeros_like(delta), torch.zeros_like(A)
    grad_B, grad_C = torch.zeros_like(B), torch.einsum('bldn,bld->bln', h, grad_y)
    carried = torch.zeros_like(h[:, 0])
    earlier = 1 if reverse else -1
    for t in _order(u.shape[1], not reverse):
        inside = 0 <= t + earlier < u.shape[1]
        h_before = h[:, t + earlier] if inside else torch.zeros_like(carried)
        decay = torch.exp(delta[:, t, :, None] * A)
        g = grad_y[:, t, :, None] * C[:, t, None, :] + carried
        grad_decay = g * h_before * decay
        g_B = (g * B[:, t, None, :]).sum(-1)
        grad_u[:, t] = g_B * delta[:, t]
        grad_delta[:, t] = g_B * u[:, t] + (grad_decay * A).sum(-1)
        grad_A += (grad_decay * delta[:, t, :, None]).sum(0)
        grad_B[:, t] = (g * (delta[:, t] * u[:, t])[..., None]).sum(1)
        carried = decay * g
    if D is None:
        return grad_u, grad_delta, grad_A, grad_B, grad_C, None
    return grad_u + grad_y * D, grad_delta, grad_A, grad_B, grad_C, (grad_y * u).sum((0, 1))
