"""A bar in the terminal that says how far a training is and how long it will take."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

_ERASE = '\r\x1b[2K'
_SHORTEST_BAR = 8


class StatusTerminal:
    """A terminal whose last line shows a status, while what is written goes above it.

    Stands in the place of a stream, such as that of a log handler.

    Args:
        stream: The terminal.
        interval: Seconds that have to pass between two states of the status.
    """

    def __init__(self, stream: TextIO, interval: float = 0.1) -> None:
        self.stream = stream
        self.interval = interval
        self._status = ''
        self._shown_at = float('-inf')
        self._process = os.getpid()

    def write(self, text: str) -> int:
        """Write above the status.

        Args:
            text: Usually whole lines.

        Returns:
            Its length.
        """
        # A worker of a data loader has a copy of the status, which is soon out of date.
        redraw = self._status and os.getpid() == self._process and text.endswith('\n')
        self.stream.write(
            (_ERASE if self._status else '') + text + (self._status if redraw else '')
        )
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream.isatty()

    def due(self) -> bool:
        """Whether it is time for another status."""
        return time.monotonic() - self._shown_at >= self.interval

    def show(self, status: str) -> None:
        """Exchange the status.

        Args:
            status: One line that fits the terminal.
        """
        self._status = status
        self._shown_at = time.monotonic()
        self.stream.write(_ERASE + status)
        self.stream.flush()

    def clear(self) -> None:
        """Take the status away."""
        if self._status:
            self._status = ''
            self.stream.write(_ERASE)
            self.stream.flush()

    def leave(self) -> None:
        """Let the status stand where it is, and go on below it."""
        if self._status:
            self._status = ''
            self.stream.write('\n')
            self.stream.flush()

    def columns(self) -> int:
        """Width of the terminal in characters."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            # A stream that calls itself a terminal and has no size.
            return 80


class OtherStream:
    """Another stream to a terminal with a status, which makes way for what is written here.

    The status stays away until it next changes: the text may be the error that ends the run.

    Args:
        stream: Usually the standard output or the standard error stream.
        terminal: Has the status.
    """

    def __init__(self, stream: TextIO, terminal: StatusTerminal) -> None:
        self._stream = stream
        self._terminal = terminal

    def write(self, text: str) -> int:
        """Write in the place of the status.

        Args:
            text: Anything.

        Returns:
            Its length.
        """
        self._terminal.clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Stage:
    """Something of a known number of steps that is under way.

    Args:
        name: What is done.
        total: Number of steps.
        first: Number of steps that were done before, in an interrupted run.
    """

    def __init__(self, name: str, total: int, first: int = 0) -> None:
        self.name = name
        self.total = total
        self.first = first
        self._start = time.monotonic()

    def bar(self, done: int, columns: int, note: str = '', unicode: bool = True) -> str:
        """Draw how far it is.

        Args:
            done: Steps done, those before an interruption included.
            columns: Width.
            note: Stands at the end, if that leaves room for the bar.
            unicode: Whether there are block characters.

        Returns:
            One line, with the time taken, the time to go (at the average speed of this run, all
            that happens between steps included) and the speed.
        """
        parts = dict(
            n=done,
            total=self.total,
            elapsed=time.monotonic() - self._start,
            initial=self.first,
            prefix=self.name,
            unit='step',
            ascii=not unicode,
        )
        text = tqdm.format_meter(**parts, postfix=note, bar_format='{l_bar}{r_bar}')
        room = len(text) + _SHORTEST_BAR <= columns
        return tqdm.format_meter(**parts, postfix=note if room and note else None, ncols=columns)


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show a progress bar with the time to go, where the log goes to a terminal.

    The bar is the last line of the terminal; lines of the log, warnings and what libraries print
    appear above it. Validation and test have a bar of their own, which goes when they end. Where the
    standard output is a file or a pipe nothing changes: the log has its lines, with the time to go
    in them.

    Args:
        keys: Scalars of the log that stand behind the bar, as far as the training has them.
    """

    priority = 'VERY_LOW'

    def __init__(self, keys: Sequence[str] = ('loss', 'error')) -> None:
        self.keys = tuple(keys)
        self._terminal: StatusTerminal | None = None
        self._handlers: list[tuple[logging.StreamHandler, TextIO]] = []
        self._others: dict[str, OtherStream] = {}
        self._train: Stage | None = None
        self._pass: Stage | None = None

    def before_train(self, runner: Runner) -> None:
        """Take the last line of the terminal, if there is one.

        Args:
            runner: The runner.
        """
        self._open(runner)
        self._train = Stage('train', runner.max_iters, runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Move the bar.

        Args:
            runner: The runner.
            batch_idx: Number of the batch in its epoch.
            data_batch: The batch.
            outputs: What the model returned.
        """
        if self._terminal is None or self._train is None:
            return
        done = runner.iter + 1
        # A training that is asked to stop has no further step.
        stopping = getattr(runner.train_loop, 'stopping', 0)
        if self._terminal.due() or stopping or done >= self._train.total:
            scalars = runner.message_hub.log_scalars
            present = [key for key in self.keys if f'train/{key}' in scalars]
            note = ' '.join(f'{key} {scalars[f"train/{key}"].current():.4g}' for key in present)
            self._show(self._train, done, note)
        if stopping:
            self._close()

    def after_train(self, runner: Runner) -> None:
        """Give the terminal back.

        Args:
            runner: The runner.
        """
        self._close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin a bar for the validation.

        Args:
            runner: The runner.
        """
        self._pass = Stage('validation', len(runner.val_dataloader))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the validation's bar.

        Args:
            runner: The runner.
            batch_idx: Number of the batch.
            data_batch: The batch.
            outputs: What the model returned.
        """
        self._move_pass(batch_idx)

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin a bar for the test.

        Args:
            runner: The runner.
        """
        self._open(runner)
        self._pass = Stage('test', len(runner.test_dataloader))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the test's bar.

        Args:
            runner: The runner.
            batch_idx: Number of the batch.
            data_batch: The batch.
            outputs: What the model returned.
        """
        self._move_pass(batch_idx)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Give the terminal back.

        Args:
            runner: The runner.
            metrics: Results of the test.
        """
        self._close()

    def _move_pass(self, batch_idx: int) -> None:
        if self._terminal is None or self._pass is None:
            return
        done = batch_idx + 1
        if done >= self._pass.total:
            # Metrics are computed next, and some of their libraries print.
            self._terminal.clear()
        elif self._terminal.due():
            self._show(self._pass, done)

    def _show(self, stage: Stage, done: int, note: str = '') -> None:
        if self._terminal is not None:
            unicode = 'utf' in (getattr(self._terminal.stream, 'encoding', None) or '').lower()
            # The last column stays free: some terminals break the line there.
            self._terminal.show(stage.bar(done, self._terminal.columns() - 1, note, unicode))

    def _open(self, runner: Runner) -> None:
        if self._terminal is not None or not is_main_process():
            return
        for handler in runner.logger.handlers:
            if not isinstance(handler, logging.StreamHandler) or not handler.stream.isatty():
                continue
            if self._terminal is None:
                self._terminal = StatusTerminal(handler.stream)
            if handler.stream is self._terminal.stream:
                self._handlers.append((handler, handler.stream))
                handler.setStream(self._terminal)
        for name in ('stdout', 'stderr'):
            stream = getattr(sys, name)
            if self._terminal is not None and stream is not None and stream.isatty():
                # Warnings, and what libraries print.
                self._others[name] = OtherStream(stream, self._terminal)
                setattr(sys, name, self._others[name])

    def _close(self) -> None:
        if self._terminal is not None:
            self._terminal.leave()
        for handler, stream in self._handlers:
            handler.setStream(stream)
        for name, other in self._others.items():
            if getattr(sys, name) is other:
                setattr(sys, name, other._stream)
        self._handlers, self._others = [], {}
        self._terminal = self._train = self._pass = None
