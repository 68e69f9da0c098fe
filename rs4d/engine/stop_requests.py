"""Ctrl-C and SIGTERM as requests to save and leave, rather than as sudden death."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, get_world_size

# Ctrl-C reaches a process from the terminal and, a moment later, from its launcher.
_ONE_KEY_PRESS_S = 1.0
# How long a worker goes on feeding a training that has to finish its step.
_WORKER_GRACE_S = 10


class TrainingStopped(KeyboardInterrupt):
    """A training was asked to stop, has saved its state and leaves.

    Args:
        signum: The signal that asked.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f'stopped by {signal.Signals(signum).name}')
        self.signum = signum


class StopRequests:
    """Notes SIGINT and SIGTERM while it is entered; the training looks when a step is done.

    A second Ctrl-C interrupts at once. Outside the main thread, where Python allows no signal
    handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._noted_at = 0.0
        self._at_once = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> 'StopRequests':
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._previous.items():
            # None stands for a handler that was not set by Python.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def agreed(self) -> int:
        """Return the number of the signal that any of the ranks has got, or 0."""
        if get_world_size() == 1:
            return self.signum
        # The backend decides which device it can reduce on; the model's is right for both.
        flag = torch.tensor(self.signum, device=get_device())
        all_reduce(flag, op='max')
        self.signum = int(flag)
        return self.signum

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal interrupt the block, which has nothing to finish.

        With several ranks it still waits, since the others may be waiting for this one.

        Raises:
            TrainingStopped: A signal has come.
        """
        self._at_once = get_world_size() == 1
        try:
            if self._at_once and self.signum:
                raise TrainingStopped(self.signum)
            yield
        finally:
            self._at_once = False

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        again = self.signum and signum == signal.SIGINT and now - self._noted_at > _ONE_KEY_PRESS_S
        if again:
            raise KeyboardInterrupt
        if not self.signum:
            self.signum, self._noted_at = signum, now
            # The signal may have come within a print, in which another one would fail.
            name = signal.Signals(signum).name
            os.write(2, f'\n{name}: saving after this step, then leaving.\n'.encode())
        if self._at_once:
            self._at_once = False
            raise TrainingStopped(signum)


def outlive_stop_requests() -> None:
    """Let a worker process leave stopping to the training, which still needs it for its step.

    Ctrl-C and batch systems signal every process of a job. SIGINT is ignored; SIGTERM ends the
    process after a time of grace, in case nobody else does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'alarm'):
        signal.signal(signal.SIGALRM, lambda signum, frame: os._exit(0))
        signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(_WORKER_GRACE_S))
