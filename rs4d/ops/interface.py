"""The public functions: they check, choose an engine, and leave the work to it.

They compute in float32, or float64 if their input is, whatever the autocast. Sequences that are all of
a lower type reach an engine as they are where it takes them so. Empty tensors never reach a compiled
engine.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .registry import ENGINES, BlocksMixer, Engine, InPlaceMixer, choose_engine
from .workspace import product_type


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
    and Dao, 2023, equation 2).

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
    _check('selective_scan', '(B, L, D)', u, A, delta=delta, B=B, C=C, D=D)
    u, delta, B, C = (x.unsqueeze(0) for x in (u, delta, B, C))
    return _scan(u, delta, A, B, C, D, None, None, reverse=reverse, engine=engine)


def bidirectional_selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    z: Tensor,
    *,
    engine: str = 'auto',
) -> Tensor:
    """Scan both directions, average them and gate: ``(scan(u[0]) + scan(u[1])) / 2 * silu(z)``.

    Args:
        u: Inputs of the forward and of the backward scan, (2, B, L, D).
        delta: Their time steps before bias and softplus, (2, B, L, D).
        A: Shared dynamics, not positive, (D, N).
        B: Input matrices, (2, B, L, N).
        C: Output matrices, (2, B, L, N).
        D: Skip, (D,).
        delta_bias: Added to the deltas before the softplus, (D,).
        z: Gate before its SiLU, (B, L, D).
        engine: As in `selective_scan`.

    Returns:
        (B, L, D), in the type of ``u``.

    Raises:
        ValueError: If the shapes, devices or types do not go together.
        ScanEngineError: If the engine asked for cannot run.
    """
    sequences = dict(delta=delta, B=B, C=C, z=z)
    _check(
        'bidirectional_selective_scan',
        '(2, B, L, D)',
        u,
        A,
        **sequences,
        D=D,
        delta_bias=delta_bias,
    )
    return _scan(u, delta, A, B, C, D, delta_bias, z, reverse=False, engine=engine)


def bidirectional_conv_silu(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, engine: str = 'auto'
) -> Tensor:
    """Depthwise causal convolution and SiLU in both directions of a sequence.

    The backward direction equals flipping ``x``, convolving and flipping back.

    Args:
        x: Sequence (B, L, D).
        weight: Taps of each channel (D, K), the last one for the current step.
        bias: (D,) or None.
        engine: As in `selective_scan`.

    Returns:
        The forward and the backward direction's result, (2, B, L, D), in the type of ``x``.

    Raises:
        ScanEngineError: If the engine asked for cannot run.
    """
    with _without_autocast(x):
        found = _engine_for(x, weight, engine)
        compute = _compute_type(x)
        sequence = x if x.dtype in found.low_types else x.to(compute)
        y = found.conv_silu(
            sequence, weight.to(compute), None if bias is None else bias.to(compute)
        )
    return y.to(x.dtype)


def in_place_mixer(x: Tensor) -> InPlaceMixer | None:
    """Find an engine's function for a bidirectional Mamba mixer with norm and residual.

    Args:
        x: Tokens (B, L, E).

    Returns:
        A function of ``x``, the norm, the mixer's weights and memory to work in, which adds to ``x``
        what the mixer makes of its norm. None where gradients may flow, for types that the engine does
        not take, for tokens that are not contiguous, for whoever watches the operators (tracers,
        compilers, counters), and where the engine for ``x`` has no such function.
    """
    if (
        type(x) is not Tensor
        or x.is_meta
        or x.dtype == torch.float64
        or not x.numel()
        or not x.is_contiguous()
        or torch.is_grad_enabled()
        or torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or _get_current_dispatch_mode() is not None
    ):
        return None
    found = ENGINES[choose_engine(x)]
    return found.add_mixed if product_type(x) in {torch.float32, *found.low_types} else None


def exported_blocks(x: Tensor) -> BlocksMixer | None:
    """Find an engine's operator for all blocks of an encoder, to stand in a program that is exported.

    Args:
        x: Tokens (B, L, E).

    Returns:
        `rs4d.ops.cpu.mix_blocks` or its equal of another engine. None where nothing is exported, where
        gradients may flow, and where the engine for ``x`` has none.
    """
    if not _is_exporting() or torch.is_grad_enabled():
        return None
    found = ENGINES[choose_engine(x)]
    return found.mix_blocks if x.dtype in {torch.float32, *found.low_types} else None


def _is_exporting() -> bool:
    # Older versions of PyTorch don't say.
    asked = getattr(torch.compiler, 'is_exporting', None)
    return asked is not None and asked()


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    *others: Tensor | None,
    reverse: bool,
    engine: str,
) -> Tensor:
    B, C, _, _, z = others
    with _without_autocast(u):
        found = _engine_for(u, A, engine)
        compute = _compute_type(u)
        types = {x.dtype for x in (u, delta, B, C, z) if x is not None}
        rows = u.dtype if types <= found.low_types and len(types) == 1 else compute
        wanted = (rows, rows, compute, rows, rows, compute, compute, rows)
        given = zip((u, delta, A, *others), wanted, strict=True)
        y = found.scan(*(None if x is None else x.to(t) for x, t in given), reverse=reverse)
    return y.to(u.dtype)


def _engine_for(x: Tensor, parameter: Tensor, engine: str) -> Engine:
    found = ENGINES[choose_engine(x, engine)]
    return found if x.numel() and parameter.numel() else ENGINES['chunked']


def _compute_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _without_autocast(x: Tensor) -> AbstractContextManager[None]:
    # Tensors without memory have no autocast; and what is exported should not show a change of none.
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def _check(caller: str, form: str, u: Tensor, A: Tensor, **others: Tensor | None) -> None:
    """Compare shapes, devices and types with those of ``u`` and A; kernels read memory unchecked."""
    dims = form.count(',') + 1
    if u.dim() != dims or A.dim() != 2 or u.shape[-2] < 1 or (dims == 4 and u.shape[0] != 2):
        raise ValueError(
            f'{caller}: u must be {form} with L >= 1 and A (D, N), but they have the shapes '
            f'{tuple(u.shape)} and {tuple(A.shape)}.'
        )
    *rows, channels = u.shape
    states = A.shape[1]
    shapes = dict(
        delta=(*rows, channels),
        A=(channels, states),
        B=(*rows, states),
        C=(*rows, states),
        D=(channels,),
        delta_bias=(channels,),
        z=(*rows[-2:], channels),
    )
    for name, tensor in dict(u=u, A=A, **others).items():
        if tensor is None:
            continue
        if not tensor.is_floating_point():
            raise ValueError(
                f'{caller}: {name} is {tensor.dtype}; the scan takes floating point tensors.'
            )
        if name in shapes and tuple(tensor.shape) != shapes[name]:
            raise ValueError(
                f'{caller}: {name} has the shape {tuple(tensor.shape)}, but with u '
                f'{tuple(u.shape)} and {states} states it must be {shapes[name]}. Sequences are '
                'channels last.'
            )
        if tensor.device != u.device:
            raise ValueError(
                f'{caller}: {name} is on {tensor.device} but u is on {u.device}. Move all tensors '
                'to one device.'
            )
