"""What a mixer hands to an engine that runs it as a whole, without gradients."""

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


class Workspace:
    """Memory that the mixers of an encoder use one after another in a pass without gradients.

    A fresh map of some MiB costs more in page faults than a matrix product costs in arithmetic. It is
    empty until an engine takes from it, and holds what was taken as long as it lives.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return float32 memory of a shape on the CPU, the same one for equal name and shape."""
        held = self._held.get(name)
        if held is None or held.shape != shape:
            held = self._held[name] = torch.empty(shape, dtype=torch.float32, device='cpu')
        return held
