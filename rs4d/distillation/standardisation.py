"""The teacher's channels on one scale, so that none of them rules a loss."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from mmdet.registry import MODELS
from mmengine.dist import all_reduce
from torch import Tensor, nn

from rs4d.errors import ConfigError

from .encoder_maps import map_name
from .matches import resize_valid

# A channel that hardly varies is divided by this share of what channels vary by.
_FLOOR = 1e-3


@MODELS.register_module()
class ChannelStandardisation(nn.Module):
    """Bring each channel of a teacher's maps to mean 0 and standard deviation 1.

    Agglomerative distillation does so, because the channels of today's encoders differ in size by
    orders of magnitude: Theia (arXiv 2407.20179) and UNIC (2408.05088) by each channel's own mean and
    standard deviation, as here; PHI-S (2410.01680) compares this with rotations of the channels.

    The first batches of the training tell both, over all cells with image in them, all images and
    all ranks; then they stay. They are in the checkpoint, so that a resumed run goes on with them. A
    batch whose maps are not finite does not count.

    Args:
        num_batches: Batches (of all ranks) after which mean and standard deviation stay as they are.

    Raises:
        ConfigError: There is not at least one.
    """

    def __init__(self, num_batches: int = 100) -> None:
        super().__init__()
        if num_batches < 1:
            raise ConfigError(
                f'ChannelStandardisation: num_batches={num_batches} should be at least 1. Correct '
                "target_norm in the distiller's config."
            )
        self.num_batches = num_batches
        self.statistics = nn.ModuleDict()

    def connect(self, channels: Callable[[int | None], int], blocks: Sequence[int]) -> None:
        """Prepare for a teacher's last map and the maps of blocks, so many channels wide."""
        for block in (None, *blocks):
            self.statistics[map_name(block)] = ChannelStatistics(channels(block))

    def forward(self, maps: dict[str, Tensor], valid: Tensor) -> dict[str, Tensor]:
        """Standardise maps; in training mode, the first batches are learned from before.

        Args:
            maps: (B, C, h, w) by name, of any dtype.
            valid: 1 on the image and 0 on padding, (B, 1, H, W) of the input.

        Returns:
            The maps in float32; as they were as long as nothing has been learned.
        """
        standardised = {}
        for name, value in maps.items():
            statistics = cast(ChannelStatistics, self.statistics[name])
            value = value.float()
            if self.training and int(statistics.num_batches) < self.num_batches:
                statistics.update(value, resize_valid(valid, value))
            standardised[name] = (value - statistics.mean_map) / statistics.std_map
        return standardised


class ChannelStatistics(nn.Module):
    """Mean and squared deviations of each channel over all cells so far.

    Attributes:
        num_batches: Batches so far, a scalar.
        count: Cells so far, a scalar.
        mean: Mean of each channel, (C,).
        squares: Sum of each channel's squared deviations from it, (C,).
    """

    num_batches: Tensor
    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer('num_batches', torch.zeros((), dtype=torch.long))
        self.register_buffer('count', torch.zeros(()))
        self.register_buffer('mean', torch.zeros(channels))
        self.register_buffer('squares', torch.zeros(channels))

    @property
    def mean_map(self) -> Tensor:
        """Mean, (C, 1, 1); 0 at first."""
        return self.mean[:, None, None]

    @property
    def std_map(self) -> Tensor:
        """Standard deviation, (C, 1, 1); 1 at first, and never far below that of the others."""
        variance = self.squares / self.count.clamp_min(1)
        floor = _FLOOR * variance.mean().sqrt()
        std = torch.where(variance.any(), variance.sqrt().clamp_min(floor), 1.0)
        return std[:, None, None]

    @torch.no_grad()
    def update(self, features: Tensor, weight: Tensor) -> None:
        """Take in maps (B, C, h, w) of this rank where the weight (B, 1, h, w) is 1 and not 0."""
        # Sums first and deviations from the mean then: squares of large values would cancel. What
        # does not count may be anything, also infinite.
        features = features.masked_fill(weight == 0, 0.0)
        sums = torch.cat([weight.sum()[None], features.sum((0, 2, 3))])
        all_reduce(sums)
        count, mean = sums[0], sums[1:] / sums[0].clamp_min(1)
        squares = ((features - mean[:, None, None]).square() * weight).sum((0, 2, 3))
        all_reduce(squares)
        if not (count > 0 and squares.isfinite().all()):
            return
        # Two sets of cells become one, as Chan, Golub and LeVeque put it.
        total, apart = self.count + count, mean - self.mean
        self.squares += squares + apart.square() * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count.copy_(total)
        self.num_batches += 1
