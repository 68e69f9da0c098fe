"""What is on disk of one run of a study."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Literal

from rs4d.files import write_json, write_text

from .study_file import StudyError

State = Literal['done', 'failed', 'begun', 'to do']


class RunFolder:
    """A run's folder: its config, its output, what a trial has found, and in the end its result.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Not beside the checkpoints, where a training writes what it has read of its config.
        self.config = path / 'config' / 'run.py'
        self.output = path / 'output.log'
        self._lock: int | None = None

    @property
    def state(self) -> State:
        """Where the run stands; one that is at work has begun."""
        if (self.path / 'result.json').is_file():
            return 'done'
        if (self.path / 'failed.json').is_file():
            return 'failed'
        return 'begun' if self.config.is_file() else 'to do'

    def result(self) -> dict[str, Any] | None:
        """What the run has found, if it is done."""
        return self._read('result.json')

    def budget(self) -> dict[str, Any] | None:
        """What the trial has found, of a run whose length is minutes."""
        return self._read('budget.json')

    def write_budget(self, found: dict[str, Any]) -> None:
        """Note what a trial has found; it decides the run's length once and for all."""
        write_json(self.path / 'budget.json', found, indent=2)

    def finish(self, result: dict[str, Any]) -> None:
        """Note that the run is done."""
        write_json(self.path / 'result.json', result, indent=2)

    def fail(self, code: int) -> None:
        """Note that the run has failed."""
        write_json(self.path / 'failed.json', dict(exit_code=code))

    def begin(self, text: str) -> None:
        """Write the run's config, or compare it with the one that it was begun with.

        Raises:
            StudyError: It was begun with another one.
        """
        (self.path / 'failed.json').unlink(missing_ok=True)
        if not self.config.is_file():
            write_text(self.config, text)
        elif self.config.read_text(encoding='utf-8') != text:
            raise StudyError(
                f"'{self.config}' is of other settings than the study has now. Run the changed study "
                'in another --work-dir, or delete this run and those that followed it.'
            )

    def lock(self) -> int | None:
        """Take the run for this process, unless another one has it.

        Returns:
            A descriptor that a child may inherit, so that the run stays taken for as long as the
            child lives; None if another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path / '.lock', os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        self._lock = lock
        return lock

    def unlock(self) -> None:
        """Leave the run to others, and to a child that has inherited the descriptor."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read(self, name: str) -> dict[str, Any] | None:
        file = self.path / name
        return json.loads(file.read_text(encoding='utf-8')) if file.is_file() else None
