"""What the shell scripts hand to the launchers, which are played by scripts here."""

import os
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from rs4d.cli.train import interrupted

ROOT = Path(__file__).parents[2]
SCRIPT = 'tools/slurm_train.sh'


@pytest.fixture
def srun(tmp_path: Path) -> Path:
    """An ``srun`` that writes down its arguments, a line each."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    (folder / 'srun').write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\nexit 7\n')
    (folder / 'srun').chmod(0o755)
    return folder


def call(srun: Path, *arguments: str, **environment: str) -> tuple[int, list[str], str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('GPUS', 'CPUS', 'SRUN'))}
    path = os.pathsep.join([str(srun), os.environ['PATH']])
    result = subprocess.run(
        ['bash', SCRIPT, *arguments],
        cwd=ROOT,
        env=clean | environment | dict(PATH=path),
        capture_output=True,
        text=True,
        timeout=30,
    )
    file = srun.parent / 'arguments'
    return result.returncode, file.read_text().splitlines() if file.exists() else [], result.stderr


def test_a_job_of_several_nodes(srun: Path) -> None:
    words = ('part', 'a job', 'configs/x.py', 'work dir', '--resume', '--amp', 'bf16')
    code, arguments, _ = call(srun, *words, GPUS='16', CPUS_PER_TASK='3', SRUN_ARGS='-w n1 --x=y')
    # The launcher's own exit code is the script's.
    assert code == 7
    python = arguments.index('python')
    assert arguments[:python] == [
        '--partition=part',
        '--job-name=a job',
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=3',
        '--kill-on-bad-exit=1',
        '-w',
        'n1',
        '--x=y',
    ]
    assert arguments[python:] == [
        'python',
        '-u',
        'tools/train.py',
        'configs/x.py',
        '--work-dir',
        'work dir',
        '--launcher',
        'slurm',
        '--resume',
        '--amp',
        'bf16',
    ]


def test_fewer_gpus_than_a_node_has(srun: Path) -> None:
    _, arguments, _ = call(srun, 'part', 'job', 'c.py', 'w', GPUS='2')
    assert {'--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2'} < set(arguments)


def test_too_few_arguments(srun: Path) -> None:
    code, arguments, message = call(srun, 'part', 'job', 'c.py')
    assert (code, arguments) == (2, [])
    assert message.startswith(f'Usage: {SCRIPT} PARTITION JOB_NAME CONFIG WORK_DIR')


@pytest.mark.parametrize(
    ('launcher', 'environment', 'command'),
    [
        ('none', {}, 'rs4d train c.py --work-dir {w} --resume'),
        (
            'pytorch',
            dict(RANK='0', WORLD_SIZE='16', LOCAL_RANK='0', LOCAL_WORLD_SIZE='8'),
            'bash tools/dist_train.sh c.py 8 --work-dir {w} --resume',
        ),
        (
            'slurm',
            dict(SLURM_PROCID='0', SLURM_NTASKS='16', SLURM_LOCALID='0'),
            'GPUS=16 bash tools/slurm_train.sh PARTITION JOB_NAME c.py {w} --resume',
        ),
        ('slurm', dict(SLURM_PROCID='3', SLURM_NTASKS='16', SLURM_LOCALID='3'), None),
    ],
)
def test_how_an_interrupted_training_is_resumed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    environment: dict[str, str],
    command: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    args = Namespace(launcher=launcher, work_dir=str(tmp_path), config='c.py')
    said = interrupted(args)
    if command is None:
        assert said is None
    else:
        assert said.endswith(f'continue with: {command.format(w=tmp_path)}')
