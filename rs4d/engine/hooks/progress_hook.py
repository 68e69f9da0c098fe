"""A bar in the terminal that says how far a training is and how long it will take."""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm


class _Bar(tqdm):
    # A thread that watches the bars would be copied into the data loaders' workers.
    monitor_interval = 0


class _Clearing:
    """A stream to the terminal that takes the bar away before anything is written.

    The bar is back with the next step; until then the text, which may be the error that ends the
    run, stands alone.
    """

    def __init__(self, stream: TextIO, clear: Callable[[], None]) -> None:
        self.stream = stream
        self._clear = clear

    def write(self, text: str) -> int:
        self._clear()
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show tqdm's bar with the time to go, where the log goes to a terminal.

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
        self._stream: TextIO | None = None
        self._restore: list[Callable[[], Any]] = []
        # The training's, and above it that of a validation.
        self._bars: list[_Bar] = []

    def before_train(self, runner: Runner) -> None:
        """Take the last line of the terminal, if there is one."""
        self._open(runner)
        self._bar('train', runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if not self._bars:
            return
        scalars = runner.message_hub.log_scalars
        present = [key for key in self.keys if f'train/{key}' in scalars]
        self._bars[-1].set_postfix_str(
            ' '.join(f'{key} {scalars[f"train/{key}"].current():.4g}' for key in present),
            refresh=False,
        )
        self._move(runner.iter + 1)
        # A training that is asked to stop has no further step.
        if getattr(runner.train_loop, 'stopping', 0):
            self._close(leave=True)

    def after_train(self, runner: Runner) -> None:
        """Give the terminal back, with the bar as its last line."""
        self._close(leave=True)

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin a bar for the validation."""
        self._bar('validation', len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        """Move the validation's bar."""
        self._move(batch_idx + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """End the validation's bar."""
        if self._bars:
            self._bars.pop().close()

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin a bar for the test."""
        self._open(runner)
        self._bar('test', len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        """Move the test's bar."""
        self._move(batch_idx + 1)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Give the terminal back."""
        self._close()

    def _bar(self, name: str, total: int, first: int = 0) -> _Bar | None:
        if self._stream is None:
            return None
        self._clear()
        # Without smoothing the time to go counts all that happens between steps.
        bar = _Bar(
            desc=name,
            total=total,
            initial=first,
            file=self._stream,
            unit='step',
            dynamic_ncols=True,
            smoothing=0,
            leave=False,
            position=0,
        )
        self._bars.append(bar)
        return bar

    def _move(self, done: int) -> None:
        for bar in self._bars[-1:]:
            bar.update(done - bar.n)

    def _clear(self) -> None:
        for bar in self._bars:
            bar.clear()

    def _open(self, runner: Runner) -> None:
        if self._restore or not is_main_process():
            return
        for handler in runner.logger.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream.isatty():
                stream = self._stream = handler.stream
                handler.setStream(_Clearing(stream, self._clear))
                self._restore.append(partial(handler.setStream, stream))
        for name in ('stdout', 'stderr'):
            stream = getattr(sys, name)
            if self._stream is not None and stream is not None and stream.isatty():
                # Warnings, and what libraries print.
                setattr(sys, name, _Clearing(stream, self._clear))
                self._restore.append(partial(setattr, sys, name, stream))

    def _close(self, leave: bool = False) -> None:
        for bar in self._bars:
            # Only now: one that an error left behind is not drawn again at the end.
            bar.leave = leave
            bar.close()
        for restore in self._restore:
            restore()
        self._bars, self._restore, self._stream = [], [], None
