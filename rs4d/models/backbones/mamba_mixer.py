"""Mamba's mixer run in both directions of a sequence."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs4d.ops import bidirectional_conv_silu, bidirectional_selective_scan
from rs4d.ops.conv_silu_cpu import conv_silu_into
from rs4d.ops.fused_scan_cpu import scan_into
from rs4d.ops.token_product import token_product

from .mixer_workspace import MixerWorkspace


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

    def _delta_B_C(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dt, B, C = self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        # The bias is added with the softplus, next to the scan.
        return F.linear(dt, self.dt_proj.weight), B, C

    def forward(self, x: Tensor) -> Tensor:
        """Mix a token sequence (B, L, embed_dims) into one of the same shape."""
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u_forward, u_backward = bidirectional_conv_silu(
            u, self.conv1d.weight.squeeze(1), self.conv1d.bias
        )
        delta_forward, B_forward, C_forward = self._delta_B_C(u_forward)
        delta_backward, B_backward, C_backward = self._delta_B_C(u_backward)
        y = bidirectional_selective_scan(
            u_forward,
            u_backward,
            delta_forward,
            delta_backward,
            -torch.exp(self.A_log.float()),
            B_forward,
            C_forward,
            B_backward,
            C_backward,
            self.D,
            self.dt_proj.bias,
            z,
        )
        return self.out_proj(y)

    def add_to_(self, residual: Tensor, x: Tensor, workspace: MixerWorkspace) -> Tensor:
        """Add ``self(x)`` to ``residual`` in place, without gradients and in memory that is there.

        For float32 tensors on the CPU, by the ``cpu`` engine's kernels.

        Args:
            residual: (B, L, embed_dims), contiguous.
            x: (B, L, embed_dims).
            workspace: Overwritten.

        Returns:
            ``residual``.
        """
        work = workspace
        xz = token_product(x.flatten(0, 1), self.in_proj.weight, work.xz.flatten(0, 1))
        u, z = xz.view_as(work.xz).chunk(2, dim=-1)
        conv_silu_into(self.conv1d.weight.squeeze(1), self.conv1d.bias, u, work.u)
        # Both directions in one product each.
        projection = token_product(
            work.u.flatten(0, 2), self.x_proj.weight, work.projection.flatten(0, 2)
        )
        dt, B, C = projection.view_as(work.projection).split(
            [self.dt_rank, self.d_state, self.d_state], dim=-1
        )
        y = work.u[0]  # a tile of u is read before its y is written
        scan_into(
            y,
            *work.u,
            dt[0],
            dt[1],
            -torch.exp(self.A_log),
            B[0],
            C[0],
            B[1],
            C[1],
            self.D,
            self.dt_proj.bias,
            z,
            delta_weight=self.dt_proj.weight,
        )
        mixed = token_product(y.flatten(0, 1), self.out_proj.weight)
        return residual.add_(mixed.view_as(residual))
