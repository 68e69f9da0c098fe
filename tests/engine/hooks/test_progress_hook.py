"""What stands on a terminal, byte for byte, and that a file or a pipe gets lines alone."""

import os
import re
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.engine import ProgressHook
from rs4d.engine.hooks import progress_hook
from rs4d.engine.hooks.progress_hook import Stage, StatusTerminal

pty = pytest.importorskip('pty')

ERASE = '\x1b[2K'
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
    for part in re.split(r'(\r|\n|\x1b\[2K)', text):
        if part == '\n':
            lines.append('')
            column = 0
        elif part == '\r':
            column = 0
        elif part == ERASE:
            lines[-1] = ''
        elif part:
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part) :]
            column += len(part)
    assert '\x1b' not in ''.join(lines)
    return lines


def file_lines(runner: Runner) -> list[str]:
    """The log's lines on the training in its file; the date there has the year."""
    (file,) = Path(runner.work_dir).rglob('*.log')
    lines = re.findall(r'^\d{4}/(.*(?:Epoch\(|checkpoint).*)$', file.read_text(), re.MULTILINE)
    assert len(lines) > 10
    return lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Output:
    """A pseudo-terminal that is wide."""
    monkeypatch.setattr(StatusTerminal, 'columns', lambda self: WIDTH)
    # Steps of a millisecond would hardly ever be due.
    monkeypatch.setattr(StatusTerminal, 'due', lambda self: True)
    return Output(*pty.openpty())


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
    states = re.findall(rf'\r{re.escape(ERASE)}([^\r\n]+)', text)
    bars = [state for state in states if state.startswith('train:')]
    seen = [
        re.search(r' (\d)/8 \[\d\d:\d\d<\d\d:\d\d, .*step/s, loss \S+ error \S+\]', b) for b in bars
    ]
    assert None not in seen
    assert {match[1] for match in seen if match} == set('12345678')
    assert all(len(bar) < WIDTH for bar in bars)
    passes = [state for state in states if state.startswith('validation:')]
    assert {re.search(r' (\d)/4 ', bar)[1] for bar in passes} == {'1', '2', '3'}
    shown = screen(text)
    assert {'file.py:7: UserWarning: beware', 'printed'} <= set(shown)
    expected = file_lines(runner)
    assert [line for line in shown if line in expected] == expected
    # The last bar is gone, since that of the validation went at its end.
    assert not [line for line in shown if 'step/s' in line]


def test_without_validation_the_last_bar_stands(
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
    assert re.search(r'\x1b\[2Ktest: .* 3/4 \[', text)
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
    assert f'{ERASE}train:' in text
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
    assert [line for line in text.splitlines() if line in expected] == expected
    assert re.search(r'Epoch\(train\) .* eta: \d:\d\d:\d\d ', text)
    assert 'step/s' not in text


def test_the_time_to_go_is_by_the_speed_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(progress_hook.time, 'monotonic', lambda: now[0])
    stage = Stage('train', total=100, first=60)
    now[0] += 30
    # 10 steps in 30 s, 30 steps left.
    assert ' 70/100 [00:30<01:30, ' in stage.bar(70, 120)


@pytest.mark.parametrize('columns', [30, 60, 79, 120])
def test_one_line_that_fits_and_has_a_bar_before_it_has_a_note(columns: int) -> None:
    line = Stage('train', total=1_000_000).bar(12_345, columns, 'loss 1.038 error 1.245')
    assert len(line) <= columns
    assert ('error 1.245' in line) == (columns == 120)
    if columns >= 79:
        assert re.search(r'\|[^|]{8,}\|', line)


def test_a_terminal_without_block_characters() -> None:
    assert Stage('train', total=4).bar(2, 80, unicode=False).isascii()


def test_a_worker_does_not_repeat_the_status(
    terminal: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = StatusTerminal(terminal.stream)
    status.show('at one')
    monkeypatch.setattr(progress_hook.os, 'getpid', lambda: -1)
    status.write('from a worker\n')
    assert screen(terminal.text()) == ['from a worker', '']
