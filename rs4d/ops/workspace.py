"""What a mixer hands to an engine that runs it as a whole, without gradients."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class MixerWeights(NamedTuple):
    """The weights of a bidirectional Mamba mixer.

    Attributes:
        in_proj: (2 D, E), from tokens of E channels to the sequence and its gate.
        conv: Taps (D, K).
        conv_bias: (D,) or None.
        x_proj: (R + 2 N, D), to delta's bottleneck, B and C.
        delta_proj: (D, R).
        delta_bias: (D,).
        A: (D, N), negative.
        D: Skip (D,).
        out_proj: (E, D).
    """

    in_proj: Tensor
    conv: Tensor
    conv_bias: Tensor | None
    x_proj: Tensor
    delta_proj: Tensor
    delta_bias: Tensor
    A: Tensor
    D: Tensor
    out_proj: Tensor


def product_type(x: Tensor) -> torch.dtype:
    """Return the type in which products of ``x`` are taken: that of autocast, or its own."""
    autocast = torch.is_autocast_enabled(x.device.type)
    return torch.get_autocast_dtype(x.device.type) if autocast else x.dtype


class Workspace:
    """Memory that the mixers of an encoder use one after another in a pass without gradients.

    A fresh map of some MiB costs more in page faults than a matrix product costs in arithmetic. It is
    empty until an engine takes from it, and holds what was taken as long as it lives.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return memory on the CPU; what was taken by this name before may be the same."""
        held, size = self._held.get(name), math.prod(shape)
        if held is None or held.numel() < size or held.dtype != dtype:
            held = self._held[name] = torch.empty(size, dtype=dtype, device='cpu')
        return held[:size].view(shape)
