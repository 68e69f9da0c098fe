"""The processor's time that a training has cost, over all its starts."""

import signal
import statistics
import time
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.files import write_json

CLOCK = 'cpu_clock.json'
TRIAL = 'trial.json'
_SECONDS = 'cpu_seconds'
# The first steps allocate memory and choose kernels.
_WARMUP_STEPS = 3


@HOOKS.register_module()
class CpuClockHook(Hook):
    """Log ``cpu_minutes``: what the training's steps have taken of the processor so far.

    It is the time of all threads of this process, from step to step, checkpoints included and
    validations left out; of loaders' workers nothing is seen, so set ``num_workers`` to 0 where they
    should count. A checkpoint holds it: a resumed training goes on counting from there, and steps
    that a kill has undone do not count. ``cpu_clock.json`` in the work dir has that of the last
    epoch's end.

    Args:
        trial_steps: Ask the training to stop after so many steps behind a short warm-up, and write
            ``cpu_seconds_per_step``, their median, and ``steps_per_epoch`` to ``trial.json`` in the
            work dir.
    """

    # Before LoggerHook and the hook that writes checkpoints.
    priority = 'NORMAL'

    def __init__(self, trial_steps: int | None = None) -> None:
        self.trial_steps = trial_steps
        self._last = self._seconds = 0.0
        self._steps: list[float] = []

    def before_train(self, runner: Runner) -> None:
        """Go on from a resumed training's time."""
        self._seconds = float(runner.message_hub.get_info(_SECONDS, 0.0))

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock."""
        self._last = time.process_time()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count the step."""
        now = time.process_time()
        step = now - self._last
        self._last = now
        self._seconds += step
        runner.message_hub.update_info(_SECONDS, self._seconds)
        runner.message_hub.update_scalar('train/cpu_minutes', self._seconds / 60)
        if self.trial_steps is not None:
            self._try(runner, step)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write the time down, before the epoch's checkpoint."""
        if is_main_process():
            found = dict(epoch=runner.epoch + 1, cpu_minutes=self._seconds / 60)
            write_json(Path(runner.work_dir) / CLOCK, found)

    def before_val_epoch(self, runner: Runner) -> None:
        """Note the time among the validation's figures; a test has none."""
        if self._seconds:
            runner.message_hub.update_scalar('val/cpu_minutes', self._seconds / 60)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Start the clock anew, since a loop over iterations validates between two steps."""
        self._last = time.process_time()

    def _try(self, runner: Runner, step: float) -> None:
        self._steps.append(step)
        measured = self._steps[_WARMUP_STEPS:]
        if len(measured) == self.trial_steps:
            found = dict(
                cpu_seconds_per_step=statistics.median(measured),
                steps_per_epoch=len(runner.train_loop.dataloader),
            )
            write_json(Path(runner.work_dir) / TRIAL, found)
            signal.raise_signal(signal.SIGTERM)
