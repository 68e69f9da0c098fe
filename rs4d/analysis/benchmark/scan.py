"""Each engine of the selective scan alone."""

from functools import partial

import torch
from torch import Tensor

from rs4d.ops import available_engines, selective_scan

from .timing import interleave


def scan_inputs(batch: int, length: int, channels: int, states: int) -> list[Tensor]:
    """Draw u, delta, A, B, C and D as a trained model has them in size.

    Args:
        batch: B.
        length: L.
        channels: D.
        states: N.

    Returns:
        The six tensors of `rs4d.ops.selective_scan`, which require gradients.
    """
    torch.manual_seed(0)
    tensors = [
        torch.randn(batch, length, channels),
        torch.rand(batch, length, channels) * 0.1,
        -torch.rand(channels, states) * states,
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.randn(channels),
    ]
    return [x.requires_grad_() for x in tensors]


def time_engines(
    shape: tuple[int, int, int, int], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Time every engine that can run, forward alone and forward with backward, in turns.

    Args:
        shape: B, L, D and N.
        rounds: Times each is measured.

    Returns:
        For ``'forward'`` and ``'forward + backward'``, seconds of every round by engine.
    """
    tensors = scan_inputs(*shape)
    names = [name for name, status in available_engines().items() if status.available]
    if not torch.cuda.is_available():
        names = [name for name in names if name not in ('cuda', 'triton')]

    def forward(name: str) -> None:
        with torch.no_grad():
            selective_scan(*tensors, engine=name)

    def both(name: str) -> None:
        y = selective_scan(*tensors, engine=name)
        torch.autograd.grad(y.sum(), tensors)

    return {
        label: interleave({name: partial(step, name) for name in names}, rounds)
        for label, step in (('forward', forward), ('forward + backward', both))
    }
