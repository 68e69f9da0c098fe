"""Generated scenes, a trained checkpoint, and the tools as functions."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from rs4d.datasets.scenes import ensure_scenes
from rs4d.visualization import LegibleVisualizer

ROOT = Path(__file__).parents[2]
CONFIG = str(Path(__file__).with_name('tiny_config.py'))


def call_tool(name: str, *arguments: object) -> int:
    """Run a file of ``tools`` in this process, which has imported rs4d, and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    return int(end.value.code or 0)


def run_tool(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / 'tools' / name), *arguments],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes to train on and two to test on."""
    folder = tmp_path_factory.mktemp('tools') / 'scenes'
    ensure_scenes(folder, num_train=4, num_val=2, size=64, seed=0)
    return folder


@pytest.fixture(scope='session')
def trained(scenes: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Train two iterations in a process of its own; the work dir, and how it ended."""
    work_dir = scenes.parent / 'trained'
    result = run_tool('train.py', CONFIG, '--work-dir', str(work_dir), RS4D_TINY_ROOT=str(scenes))
    return work_dir, result


def forget_loggers() -> None:
    """Drop MMEngine's loggers, which hold the output streams of earlier tests."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    MMLogger._instance_dict.clear()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose more by waiting for threads than they win."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_visualizer() -> None:
    """MMEngine keeps one visualizer for a process, with the folder of the run that made it."""
    LegibleVisualizer._instance_dict.clear()


@pytest.fixture
def call(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a tool here, and returns exit code, output and last paragraph."""
    monkeypatch.setenv('RS4D_TINY_ROOT', str(scenes))
    forget_loggers()

    def run(name: str, *arguments: str | Path) -> tuple[int, str, str]:
        code = call_tool(name, *arguments)
        out, err = capfd.readouterr()
        return code, out + err, err.rstrip().split('\n')[-1]

    return run


@pytest.fixture(scope='session')
def config() -> str:
    """The path of a config that trains in seconds."""
    return CONFIG
