"""Trainings under a clock that stands still unless a step or a validation takes its seconds."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

VALIDATION_S = 1000.0


class Takes(Hook):
    """Moves the clock by the seconds that each step takes, and by many for each validation's."""

    priority = 'VERY_HIGH'

    def __init__(self, clock: list[float], steps: Iterable[float]) -> None:
        self.clock, self.steps = clock, iter(steps)

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        self.clock[0] += next(self.steps)

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        self.clock[0] += VALIDATION_S


def logged(runner: Runner, key: str) -> list[dict[str, float]]:
    """The entries of a run's log that have a scalar."""
    (file,) = Path(runner.work_dir).rglob('scalars.json')
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    return [entry for entry in entries if key in entry]
