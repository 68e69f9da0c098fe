"""A whole study in seconds, through kills, against the same one that nothing happened to."""

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from rs4d.analysis.studies import StudyError, read_study, run_study
from rs4d.analysis.studies.run_folder import RunFolder
from rs4d.cli import main
from rs4d.datasets.scenes import ensure_scenes

CONFIGS = Path(__file__).parents[2] / 'tools'
# RS4D_TEST_SEED chooses other moments to kill at.
SEED = int(os.environ.get('RS4D_TEST_SEED', 0))
STUDY = f"""
title: Tiny
seeds: [0]
steps:
  distilled:
    config: {CONFIGS / 'tiny_distill_config.py'}
    epochs: 3
    validations: 2
    settings: {{default_hooks.checkpoint.iter_interval: 2}}
    grid:
      corruption:
        none: {{settings: {{model.corruption: {{noise_ratio: 0.0, mask_ratio: 0.0}}}}}}
        both: {{}}
  detector:
    config: {CONFIGS / 'tiny_config.py'}
    epochs: 2
    settings:
      default_hooks.checkpoint.iter_interval: 2
      model.backbone.init_cfg: {{type: Pretrained, checkpoint: <distilled>/latest.pth, prefix: student.}}
figures: {{agreement/cosine: cosine, coco/segm_mAP: mask AP}}
curves: [agreement/cosine]
"""


class Fork:
    """In the place of subprocess.Popen: a copy of this process, which has imported everything."""

    def __init__(self, command: list[str], *, env: dict[str, str], stdout: object, **_: object):
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        os.dup2(stdout.fileno(), 1)
        os.dup2(stdout.fileno(), 2)
        os.environ.update(env)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = 1
        try:
            code = main(*command[3:])
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def terminate(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    def _wait(self, flags: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _study(words: list[str], environment: dict[str, str], output: str) -> None:
    """Run the command in a session of its own."""
    from rs4d.analysis.studies import running

    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    running.Popen = Fork
    running._INTERVAL_S = 0.02
    os._exit(main('study', *words))


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('study') / 'scenes'
    ensure_scenes(folder, num_train=8, num_val=2, size=64, seed=0)
    return folder


@pytest.fixture(scope='module')
def start(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[BaseProcess, Path]]:
    """Return a function that starts the study in a work dir; the process, and its output."""
    file = tmp_path_factory.mktemp('file') / 'tiny.yaml'

    def call(folder: Path, *words: str, text: str = STUDY) -> tuple[BaseProcess, Path]:
        file.write_text(text)
        context = multiprocessing.get_context('forkserver')
        context.set_forkserver_preload(['rs4d', 'mmdet.models', 'mmdet.evaluation'])
        output = folder.with_suffix('.log')
        arguments = [str(file), '--work-dir', str(folder), *words]
        environment = dict(RS4D_TINY_ROOT=str(scenes))
        process = context.Process(target=_study, args=(arguments, environment, str(output)))
        process.start()
        return process, output

    return call


def end(process: BaseProcess, output: Path, code: int = 0) -> str:
    process.join(120)
    text = output.read_text()
    assert process.exitcode == code, text[-3000:]
    return text


@pytest.fixture(scope='module')
def whole(start: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that nothing happened to."""
    folder = tmp_path_factory.mktemp('whole') / 'w'
    end(*start(folder))
    return folder


def figures(folder: Path) -> dict[str, dict]:
    """What each run has found, without what depends on the machine's speed."""
    results = json.loads((folder / 'results.json').read_text())
    return {
        result['run']: {
            key: value for key, value in result['metrics'].items() if not key.startswith('train/')
        }
        for result in results
    }


def test_a_study_ends_with_a_table_and_curves(whole: Path) -> None:
    assert list(figures(whole)) == [
        'distilled/none_seed0',
        'distilled/both_seed0',
        'detector/none_seed0',
        'detector/both_seed0',
    ]
    result = json.loads((whole / 'detector' / 'both_seed0' / 'result.json').read_text())
    assert (result['seed'], result['epochs'], result['labels']) == (0, 2, dict(corruption='both'))
    assert result['cpu_minutes'] > 0
    assert result['machine']
    assert result['commit']
    text = (whole / 'results.md').read_text()
    assert '| none | 1 |' in text
    assert '| both | 0 |' in text
    assert '3 + 2' in text  # epochs
    assert (whole / 'curves.png').stat().st_size > 1000
    other = figures(whole)
    assert other['distilled/none_seed0'] != other['distilled/both_seed0']


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError


def test_stopped_and_killed_again_and_again(start: Callable, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'w'
    first, second = (folder / 'distilled' / f'{name}_seed0' for name in ('none', 'both'))
    # Asked to stop.
    process, output = start(folder)
    until(lambda: [*first.glob('*.pth')])
    os.kill(process.pid, signal.SIGTERM)
    assert 'the same command goes on' in end(process, output, 130)
    # The study alone is killed, and its run is still at work when it is started again.
    process, output = start(folder)
    until(lambda: [*second.glob('*/vis_data/config.py')])
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process, output = start(folder)
    until(lambda: 'distilled/both_seed0 is at work in another process' in output.read_text())
    # All at once, as by a power cut.
    moments = random.Random(SEED)
    for _ in range(3):
        time.sleep(moments.uniform(0.2, 2.0))
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        process, output = start(folder)
    text = end(process, output)
    assert RunFolder(first).state == 'done'
    assert 'seed0 goes on' in text
    assert figures(folder) == figures(whole)


def test_minutes_in_the_place_of_epochs(start: Callable, tmp_path: Path) -> None:
    """A trial says how many epochs they are; those that stage 1 took are taken off."""
    text = STUDY.replace('epochs: 2', 'cpu_minutes: 0.12\n    includes: distilled')
    process, output = start(tmp_path / 'w', '--scale', '0.5', '--only', '0', '2', text=text)
    end(process, output)
    folder = RunFolder(tmp_path / 'w' / 'detector' / 'none_seed0')
    found, result = folder.budget(), folder.result()
    first = RunFolder(tmp_path / 'w' / 'distilled' / 'none_seed0').result()
    assert found is not None
    assert result is not None
    assert first is not None
    assert first['epochs'] == 2
    assert found['cpu_minutes'] == pytest.approx(0.06 - first['cpu_minutes'])
    assert found['steps_per_epoch'] == 4
    epoch = 4 * found['cpu_seconds_per_step'] / 60
    assert result['epochs'] == found['epochs'] == int(found['cpu_minutes'] / epoch) >= 1
    assert not (folder.path / 'trial').exists()
    assert not (tmp_path / 'w' / 'results.md').exists()


def test_a_failing_run_leaves_the_others(start: Callable, tmp_path: Path) -> None:
    broken = STUDY.replace('both: {}', 'both: {settings: {model.corruption.mask_ratio: 2.0}}')
    process, output = start(tmp_path / 'w', '--scale', '0.5', text=broken)
    text = end(process, output, 2)
    last = text.rstrip().split('\n')[-1]
    assert '1 of 4 runs failed: distilled/both_seed0. 1 runs follow them' in last
    assert 'mask_ratio=2.0' in last
    assert RunFolder(tmp_path / 'w' / 'distilled' / 'both_seed0').state == 'failed'
    assert RunFolder(tmp_path / 'w' / 'detector' / 'none_seed0').state == 'done'
    assert 'Not finished: 1 of 2' in (tmp_path / 'w' / 'results.md').read_text()


def test_another_study_in_the_same_folder_is_refused(whole: Path, tmp_path: Path) -> None:
    file = tmp_path / 'tiny.yaml'
    file.write_text(STUDY.replace('epochs: 3', 'epochs: 4'))
    study = read_study(str(file))
    (whole / 'distilled' / 'none_seed0' / 'result.json').rename(tmp_path / 'aside')
    try:
        with pytest.raises(StudyError, match='is of other settings than the study has now'):
            run_study(study, whole, only=[0])
        with pytest.raises(StudyError, match="follows 'distilled/none_seed0', which is not done"):
            run_study(study, whole, only=[2])
    finally:
        (tmp_path / 'aside').rename(whole / 'distilled' / 'none_seed0' / 'result.json')
