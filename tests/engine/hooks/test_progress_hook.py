"""What stands on a terminal, byte for byte, and that a file or a pipe gets lines alone."""

import os
import re
import struct
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.engine import ProgressHook
from rs4d.engine.hooks import progress_hook
from rs4d.engine.hooks.progress_hook import _Bar

pty, fcntl, termios = (pytest.importorskip(name) for name in ('pty', 'fcntl', 'termios'))

WIDTH = 400


class Output:
    """The end of a pipe or a pseudo-terminal that the test reads."""

    def __init__(self, reader: int, writer: int) -> None:
        self.stream: TextIO = os.fdopen(writer, 'w', buffering=1, encoding='utf-8')
        self._chunks: list[bytes] = []
        self._reader = reader
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def take(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be standard output and standard error. pytest sets its own after fixtures."""
        monkeypatch.setattr(sys, 'stdout', self.stream)
        monkeypatch.setattr(sys, 'stderr', self.stream)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._reader, 65536)
            except OSError:  # how Linux says that a terminal has been closed
                return
            if not chunk:
                return
            self._chunks.append(chunk)

    def text(self) -> str:
        """Close it, and return all that was written."""
        self.stream.close()
        self._thread.join(10)
        os.close(self._reader)
        return b''.join(self._chunks).decode()


def without_colours(text: str) -> str:
    """That of the log's level, which is or is not there for a whole process."""
    return re.sub(r'\x1b\[\d*m', '', text)


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end, on a screen of any height."""
    text = without_colours(text)
    lines, column = [''], 0
    for part in re.split(r'(\r|\n)', text):
        if part == '\n':
            lines.append('')
            column = 0
        elif part == '\r':
            column = 0
        elif part:
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part) :]
            column += len(part)
    assert '\x1b' not in ''.join(lines)
    return [line.rstrip() for line in lines]


def file_lines(runner: Runner) -> list[str]:
    """The log's lines on the training in its file; the date there has the year."""
    (file,) = Path(runner.work_dir).rglob('*.log')
    lines = re.findall(r'^\d{4}/(.*(?:Epoch\(|checkpoint).*)$', file.read_text(), re.MULTILINE)
    assert len(lines) > 10
    return [line.rstrip() for line in lines]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Output:
    """A pseudo-terminal that is wide."""
    # Steps of a millisecond would hardly ever be due.
    monkeypatch.setattr(progress_hook, '_Bar', partial(_Bar, mininterval=0, miniters=1))
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack('HHHH', 50, WIDTH, 0, 0))
    return Output(reader, writer)


class Warns(Hook):
    """Warns and prints within the training."""

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 2:
            # As warnings.warn does; pytest collects those itself.
            sys.stderr.write(warnings.formatwarning('beware', UserWarning, 'file.py', 7))
            sys.stdout.write('printed\n')


def test_a_bar_with_the_time_to_go_below_whole_lines(
    toy_runner: Callable[..., Runner], terminal: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take(monkeypatch)
    runner = toy_runner(ProgressHook(), Warns())
    runner.train()
    assert (sys.stdout, sys.stderr) == (terminal.stream, terminal.stream)
    text = terminal.text()
    states = re.findall(r'\r([^\r\n]+)', text)
    bars = [state for state in states if state.startswith('train:')]
    state = re.compile(r' (\d)/8 \[00:00<(?:\?|00:00, .*step/s, loss \S+ error \S+\])')
    seen = [state.search(bar) for bar in bars]
    assert None not in seen
    assert {match[1] for match in seen if match} == set('012345678')
    assert all(len(bar) < WIDTH for bar in bars)
    passes = [state for state in states if state.startswith('validation:')]
    assert {bar.partition('/4 ')[0][-1] for bar in passes} == {'0', '1', '2', '3', '4'}
    shown = screen(text)
    assert {'file.py:7: UserWarning: beware', 'printed'} <= set(shown)
    expected = file_lines(runner)
    assert [line for line in shown if line in expected] == expected
    assert [line[:11] for line in shown if 'step/s' in line] == ['train: 100%']


def test_the_last_bar_stands(
    toy_runner: Callable[..., Runner], terminal: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take(monkeypatch)
    toy_runner(ProgressHook(), val_dataloader=None, val_evaluator=None, val_cfg=None).train()
    bar, after = screen(terminal.text())[-2:]
    assert re.match(r'train: 100%\|.*8/8 \[\d\d:\d\d<00:00', bar)
    assert after == ''


def test_a_test_has_a_bar(
    toy_runner: Callable[..., Runner], terminal: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take(monkeypatch)
    runner = toy_runner(ProgressHook())
    loader = runner._val_dataloader
    tested = toy_runner(
        ProgressHook(), test_dataloader=loader, test_evaluator=runner._val_evaluator, test_cfg={}
    )
    tested.test()
    assert (sys.stdout, sys.stderr) == (terminal.stream, terminal.stream)
    text = terminal.text()
    assert re.search(r'\rtest: .* 3/4 \[', text)
    assert not [line for line in screen(text) if line.startswith('test:')]


class Fails(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError('broken')


def test_the_error_that_ends_a_run_stands_alone(
    toy_runner: Callable[..., Runner], terminal: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take(monkeypatch)
    with pytest.raises(RuntimeError, match='broken'):
        toy_runner(ProgressHook(), Fails()).train()
    sys.stderr.write('RuntimeError: broken\n')
    text = terminal.text()
    assert '\rtrain:' in text
    assert screen(text)[-2:] == ['RuntimeError: broken', '']


def test_a_pipe_gets_lines_alone(
    toy_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(*os.pipe())
    output.take(monkeypatch)
    runner = toy_runner(ProgressHook())
    runner.train()
    assert sys.stdout is output.stream
    text = without_colours(output.text())
    assert '\r' not in text
    assert '\x1b' not in text
    expected = file_lines(runner)
    assert [line.rstrip() for line in text.splitlines() if line.rstrip() in expected] == expected
    assert re.search(r'Epoch\(train\) .* eta: \d:\d\d:\d\d ', text)
    assert 'step/s' not in text


def test_the_time_to_go_is_by_the_speed_of_this_run(
    toy_runner: Callable[..., Runner], terminal: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take(monkeypatch)
    hook = ProgressHook()
    hook._open(toy_runner(hook))
    bar = hook._bar('train', total=100, first=60)
    assert bar is not None
    monkeypatch.setattr(bar, '_time', lambda: bar.start_t + 30)
    bar.update(10)
    # 10 steps in 30 s, 30 steps left.
    assert ' 70/100 [00:30<01:30, ' in str(bar)
    hook._close()
