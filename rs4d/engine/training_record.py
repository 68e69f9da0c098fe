"""What a training has cost, which its checkpoints carry along."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import get_world_size

from .hooks.throughput_hook import largest_process_memory
from .provenance import origin


class TrainingRecord:
    """The wall-clock minutes of a training over all its runs, validations included, and where it ran.

    Attributes:
        seconds: Of the runs before this one.
        machines: Of the runs before this one, each once.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.machines: list[str] = []
        self._start: float | None = None

    def begin(self) -> None:
        """Start the clock, unless it runs."""
        self._start = time.monotonic() if self._start is None else self._start

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint says."""
        self.seconds = 60 * float(saved.get('minutes', 0))
        self.machines = list(saved.get('machines', []))

    def state(self, images: int, batch_size: int) -> dict[str, Any]:
        """What is written into a checkpoint.

        Args:
            images: How many there are to train on.
            batch_size: Of one process.
        """
        now = 0.0 if self._start is None else time.monotonic() - self._start
        said = origin()
        machines = list(dict.fromkeys([*self.machines, said.pop('machine')]))
        return dict(
            minutes=round((self.seconds + now) / 60, 3),
            machines=machines,
            processes=get_world_size(),
            images=images,
            batch_size=batch_size,
            memory_mb=peak_memory(),
            **said,
        )


def peak_memory() -> float | None:
    """The most memory that was held so far, in MB: of the GPU where there is one, else the process'."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    most = largest_process_memory()
    return None if most is None else round(most)
