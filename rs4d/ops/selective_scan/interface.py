"""The public function, and its registration with PyTorch."""

import torch
from torch import Tensor

from .registry import ENGINES, choose_engine


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    reverse: bool = False,
    engine: str = 'auto',
) -> Tensor:
    """Run the selective scan of Mamba over a sequence, channels last.

    ``h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t`` and ``y_t = C_t h_t + D u_t``, from h = 0 (Gu
    and Dao, 2023, equation 2). It is computed in float32, or float64 if ``u`` is float64, whatever
    the autocast.

    Args:
        u: Input, (B, L, D).
        delta: Time steps, not negative, (B, L, D).
        A: Dynamics, not positive, (D, N).
        B: Input matrix of each step, (B, L, N).
        C: Output matrix of each step, (B, L, N).
        D: Skip, (D,), or None for none.
        reverse: Scan from the last step to the first, without a flipped copy.
        engine: An engine of `rs4d.ops.available_engines`, or ``'auto'`` for the fastest that fits.

    Returns:
        y, (B, L, D), in the type of ``u``.

    Raises:
        ValueError: If the shapes, devices or types do not go together.
        ScanEngineError: If the engine asked for cannot run.
    """
    _check(u, delta, A, B, C, D)
    compute = torch.float64 if u.dtype == torch.float64 else torch.float32
    name = choose_engine(u, engine)
    y = torch.ops.rs4d.selective_scan(
        u.to(compute),
        delta.to(compute),
        A.to(compute),
        B.to(compute),
        C.to(compute),
        None if D is None else D.to(compute),
        reverse,
        name,
    )
    return y.to(u.dtype)


def _check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None) -> None:
    if u.dim() != 3 or A.dim() != 2 or u.shape[1] < 1:
        raise ValueError(
            'selective_scan: u must be (B, L, D) with L >= 1 and A (D, N), but they have the shapes '
            f'{tuple(u.shape)} and {tuple(A.shape)}.'
        )
    batch, length, channels = u.shape
    states = A.shape[1]
    expected = {
        'delta': (delta, (batch, length, channels)),
        'A': (A, (channels, states)),
        'B': (B, (batch, length, states)),
        'C': (C, (batch, length, states)),
    }
    if D is not None:
        expected['D'] = (D, (channels,))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f'selective_scan: {name} has the shape {tuple(tensor.shape)}, but with u '
                f'{tuple(u.shape)} and {states} states it must be {shape}. Sequences are channels '
                'last.'
            )
        if tensor.device != u.device:
            raise ValueError(
                f'selective_scan: {name} is on {tensor.device} but u is on {u.device}. Move all '
                'tensors to one device.'
            )
    for name, tensor in [('u', u), *((name, pair[0]) for name, pair in expected.items())]:
        if not tensor.is_floating_point():
            raise ValueError(
                f'selective_scan: {name} is {tensor.dtype}; the scan takes floating point tensors.'
            )


@torch.library.custom_op('rs4d::selective_scan', mutates_args=())
def _selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    reverse: bool,
    engine: str,
) -> Tensor:
    with torch.autocast(u.device.type, enabled=False):
        return ENGINES[engine].forward(u, delta, A, B, C, D, reverse)


@torch.library.custom_op('rs4d::selective_scan_backward', mutates_args=())
def _selective_scan_backward(
    grad_y: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    reverse: bool,
    engine: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    with torch.autocast(u.device.type, enabled=False):
        *grads, grad_D = ENGINES[engine].backward(grad_y, u, delta, A, B, C, D, reverse)
    # An op cannot return an optional tensor.
    grad_D = u.new_zeros(0) if grad_D is None else grad_D
    return (*grads, grad_D)


def _empty(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_selective_scan.register_fake
def _(u, delta, A, B, C, D, reverse, engine):
    return _empty(u)


@_selective_scan_backward.register_fake
def _(grad_y, u, delta, A, B, C, D, reverse, engine):
    grad_D = u.new_empty(0) if D is None else _empty(D)
    return (*(_empty(x) for x in (u, delta, A, B, C)), grad_D)


def _save(ctx, inputs, output):
    *tensors, ctx.reverse, ctx.engine = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, grad_y):
    tensors = ctx.saved_tensors  # activation checkpointing lets them be unpacked only once
    *grads, grad_D = torch.ops.rs4d.selective_scan_backward(
        grad_y, *tensors, ctx.reverse, ctx.engine
    )
    return (*grads, None if tensors[-1] is None else grad_D, None, None)


_selective_scan.register_autograd(_differentiate, setup_context=_save)
