"""What `rs4d study` says without training."""

from pathlib import Path

import pytest

from rs4d.cli import main

NAME = 'rs4d::studies/corruption.yaml'


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main('study', NAME, '--work-dir', tmp_path, '--scale', '0.1', '--seeds', '0', '--list')
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].split() == ['0', 'to', 'do', 'teacher/seed0', '(cache-teacher)']
    assert lines[1].split() == ['1', 'to', 'do', 'distilled/none_seed0', '(epochs:', '1)']
    assert len(lines) == 1 + 8 + 8
    assert list(tmp_path.iterdir()) == []


def test_table_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main('study', NAME, '--work-dir', tmp_path, '--table') == 0
    assert 'No run is done yet' in capsys.readouterr().out


def test_slurm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['--work-dir', str(tmp_path), '--cfg-options', 'image_size=192']
    assert main('study', NAME, *words, '--slurm') == 0
    script = capsys.readouterr().out
    assert script.startswith('#!/usr/bin/env bash\n')
    assert f'rs4d study {NAME} --cfg-options image_size=192 --work-dir {tmp_path} --only' in script


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--jobs', '0'], 'one at least'),
        (['--only', '99'], 'the study has the runs 0 to 24'),
        (['--scale', '0'], 'above 0'),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main('study', NAME, *words) == 2
    assert message in capsys.readouterr().err
