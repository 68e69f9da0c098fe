"""Mamba's mixer run in both directions of a sequence."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs4d.ops import (
    MixerWeights,
    Workspace,
    bidirectional_conv_silu,
    bidirectional_selective_scan,
    in_place_mixer,
)


class BidirectionalMambaMixer(nn.Module):
    """A Mamba mixer run forwards and backwards over a sequence with the same weights, averaged.

    ``in_proj``, the gate and ``out_proj`` act on each token alone and so commute with the flip of
    the sequence: they run once for both directions. The parameters' names and shapes are those of
    the usual Mamba mixer.

    Args:
        embed_dims: Channels of a token.
        inner_dims: Channels inside of the mixer.
        d_state: States a channel.
        d_conv: Taps of the depthwise convolution.
        dt_rank: Width of the bottleneck that makes delta.
    """

    def __init__(
        self,
        embed_dims: int,
        inner_dims: int,
        d_state: int = 16,
        d_conv: int = 4,
        dt_rank: int = 16,
    ) -> None:
        super().__init__()
        self.inner_dims = inner_dims
        self.d_state = d_state
        self.dt_rank = dt_rank
        self.in_proj = nn.Linear(embed_dims, 2 * inner_dims, bias=False)
        self.conv1d = nn.Conv1d(
            inner_dims, inner_dims, d_conv, groups=inner_dims, padding=d_conv - 1
        )
        self.x_proj = nn.Linear(inner_dims, dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(dt_rank, inner_dims)
        self.A_log = nn.Parameter(torch.empty(inner_dims, d_state))
        self.D = nn.Parameter(torch.empty(inner_dims))
        self.out_proj = nn.Linear(inner_dims, embed_dims, bias=False)
        self.reset_state_space()

    @torch.no_grad()
    def reset_state_space(self, dt_min: float = 1e-3, dt_max: float = 0.1) -> None:
        """Initialise A, D and delta as Mamba does (Gu and Dao, 2023, section 3.6).

        Args:
            dt_min: Smallest time step that the bias of ``dt_proj`` alone gives.
            dt_max: Largest one; the steps are log-uniform between.
        """
        states = torch.arange(1, self.d_state + 1, dtype=torch.float32)
        self.A_log.copy_(states.log().expand_as(self.A_log))
        self.D.fill_(1.0)
        bound = self.dt_rank**-0.5
        self.dt_proj.weight.uniform_(-bound, bound)
        log_range = math.log(dt_max) - math.log(dt_min)
        dt = torch.exp(torch.rand(self.inner_dims) * log_range + math.log(dt_min))
        # The inverse of softplus, so that softplus(bias) = dt.
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens (B, L, embed_dims); the result lies in memory of its own."""
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u = bidirectional_conv_silu(u, self.conv1d.weight.squeeze(1), self.conv1d.bias)
        dt, B, C = self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        # The bias is added with the softplus, next to the scan.
        delta = F.linear(dt, self.dt_proj.weight)
        y = bidirectional_selective_scan(u, delta, self._A(), B, C, self.D, self.dt_proj.bias, z)
        return self.out_proj(y)

    def add_in_place(self, x: Tensor, norm: nn.Module, workspace: Workspace) -> bool:
        """Do ``x += self(norm(x))`` at one go, where there are no gradients and an engine can.

        Args:
            x: (B, L, embed_dims).
            norm: Acts on each token alone.
            workspace: Memory to share with other mixers.

        Returns:
            Whether it was done; if not, ``x`` is what it was.
        """
        add_mixed = in_place_mixer(x)
        if add_mixed is None or not self.is_plain(norm):
            return False
        if any(type(p) is not nn.Parameter for p in self.parameters()):
            return False
        add_mixed(x, norm, self.weights(), workspace)
        return True

    def _A(self) -> Tensor:
        return -torch.exp(self.A_log.float())

    def weights(self) -> MixerWeights:
        """Return what an engine needs to run the mixer as a whole."""
        return MixerWeights(
            in_proj=self.in_proj.weight,
            conv=self.conv1d.weight.squeeze(1),
            conv_bias=self.conv1d.bias,
            x_proj=self.x_proj.weight,
            delta_proj=self.dt_proj.weight,
            delta_bias=self.dt_proj.bias,
            A=self._A(),
            D=self.D,
            out_proj=self.out_proj.weight,
        )

    def is_plain(self, norm: nn.Module) -> bool:
        """Say whether nobody would miss a call of a module: no hooks, no adapters in their places."""
        known = (BidirectionalMambaMixer, nn.Linear, nn.Conv1d, nn.LayerNorm)
        return all(
            type(m) in known and not m._forward_hooks and not m._forward_pre_hooks
            for m in (*self.modules(), norm)
        )
