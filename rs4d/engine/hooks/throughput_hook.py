"""How fast a training is, and how much memory it takes, among the scalars of the log."""

import sys
import time
from collections import deque
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Log ``images_per_s`` and, on CPUs, ``memory``.

    Images per second are those of all ranks, over the last steps as a whole: reading, computing,
    logging and saving; validations are left out. Memory is the largest that the process has held, in
    MB; on GPUs MMEngine logs the GPU's under the same name.

    Args:
        window_size: Number of steps that are averaged.
    """

    # After IterTimerHook and before LoggerHook.
    priority = 'NORMAL'

    def __init__(self, window_size: int = 50) -> None:
        self._steps: deque[tuple[int, float]] = deque(maxlen=window_size)
        self._last = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Start the clock anew, since a loop over iterations validates between two steps."""
        self._last = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count the step."""
        now = time.perf_counter()
        inputs = data_batch.get('inputs', ()) if isinstance(data_batch, dict) else ()
        self._steps.append((len(inputs) * get_world_size(), now - self._last))
        self._last = now
        images, seconds = map(sum, zip(*self._steps, strict=True))
        hub = runner.message_hub
        hub.update_scalar('train/images_per_s', images / max(seconds, 1e-9))
        memory = largest_process_memory()
        if memory is not None and not torch.cuda.is_available():
            hub.update_scalar('train/memory', memory)


def largest_process_memory() -> float | None:
    """The largest resident memory of this process so far in MB; None where the system doesn't tell."""
    if sys.platform == 'win32':
        return None
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in kilobytes elsewhere.
    return peak / 2**20 if sys.platform == 'darwin' else peak / 2**10
