"""Which part of a work is this process', where several do it without a word to each other."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rs4d.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """One of several processes that divide a work.

    Attributes:
        rank: Which, from 0.
        world_size: How many there are.
        shows: Whether this one says how the work goes: those of a launcher write into one terminal or
            file, those started by hand have one each.
    """

    rank: int = 0
    world_size: int = 1
    shows: bool = True

    @classmethod
    def of(cls, rank: int | None = None, world_size: int | None = None) -> 'Share':
        """Complete what a command line says by what torchrun or Slurm have set.

        Raises:
            ConfigError: The rank is none of those that there are.
        """
        launched = _from_launcher(('RANK', 'SLURM_PROCID'), 0)
        shows = rank is not None or launched == 0
        rank = launched if rank is None else rank
        if world_size is None:
            world_size = _from_launcher(('WORLD_SIZE', 'SLURM_NTASKS'), 1)
        if not 0 <= rank < world_size:
            raise ConfigError(
                f'--rank {rank} --world-size {world_size}: ranks are counted from 0 to one less than '
                'the world size.'
            )
        return cls(rank, world_size, shows)

    def part(self, count: int) -> range:
        """Which of ``count`` things in a row are this process': neighbours, as many as the others'."""
        return range(
            self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size
        )


def default_device() -> str:
    """A GPU by the number of this process on its machine, or the CPU."""
    count = torch.cuda.device_count()
    local = _from_launcher(('LOCAL_RANK', 'SLURM_LOCALID'), 0)
    return f'cuda:{local % count}' if count else 'cpu'


def _from_launcher(names: Sequence[str], default: int) -> int:
    return int(next((os.environ[name] for name in names if name in os.environ), default))
