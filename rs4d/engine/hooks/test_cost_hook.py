"""How long a test takes for an image, and how much memory."""

import statistics
import time
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.engine.training_record import peak_memory


class TestCostHook(Hook):
    """Measure what the model and the packing of its masks take; reading images is left out.

    Attributes:
        seconds: For an image, of each batch.
        images: How many there were.
    """

    __test__ = False  # of a test's, and none itself
    # Around all other hooks, which may draw.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.images = 0
        self._start = 0.0

    def before_test(self, runner: Runner) -> None:
        """Forget what a training in the same process held."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock."""
        self._start = _now()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop it."""
        number = len(outputs) if outputs else 1
        self.seconds.append((_now() - self._start) / number)
        self.images += number

    def cost(self) -> dict[str, Any]:
        """The median over batches, without the first, which warms up, where there are several."""
        counted = self.seconds[1:] or self.seconds
        return dict(
            images=self.images,
            seconds_an_image=round(statistics.median(counted), 5) if counted else None,
            memory_mb=peak_memory(),
        )


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
