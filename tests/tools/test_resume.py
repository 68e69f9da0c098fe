"""A training that is killed or stopped, and resumed, ends as if it had not been, to the last bit."""

import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import CheckpointLoader
from training_process import FullDisk, Kill, Poison, run

from rs4d.datasets.scenes import ensure_scenes

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='sends signals')

CONFIGS = {name: Path(__file__).with_name(f'{name}_config.py') for name in ('tiny', 'tiny_distill')}
# Five steps an epoch, three epochs, validation after the second and the third.
SETTINGS = [
    'train_cfg.max_epochs=3',
    'train_cfg.val_interval=2',
    'default_hooks.checkpoint.iter_interval=2',
    'default_hooks.checkpoint.max_keep_ckpts=1',
]
# RS4D_TEST_SEED chooses other moments to kill at; it stands in the names of the tests.
SEED = int(os.environ.get('RS4D_TEST_SEED', 0))
Train = Callable[..., tuple[int, str]]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('resume') / 'scenes'
    ensure_scenes(folder, num_train=10, num_val=2, size=64, seed=0)
    return folder


@pytest.fixture(scope='module')
def train(data: Path) -> Train:
    """Return a function that trains in a work dir, and returns exit code and output."""

    def call(
        name: str,
        work_dir: Path,
        *flags: object,
        settings: tuple[str, ...] = (),
        prepare: Callable[[], None] | None = None,
    ) -> tuple[int, str]:
        output = work_dir.with_suffix('.log')
        arguments = [CONFIGS[name], '--work-dir', work_dir, *flags]
        options = ['--cfg-options', *SETTINGS, *settings]
        environment = dict(RS4D_TINY_ROOT=str(data))
        code = run([*arguments, *options], environment, output, prepare)
        return code, output.read_text()

    return call


def end(work_dir: Path) -> dict:
    return CheckpointLoader.load_checkpoint(str(work_dir / 'epoch_3.pth'), 'cpu')


@pytest.fixture(scope='module')
def uninterrupted(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """Return a function to the end of a training that nothing happened to."""
    ends: dict[tuple, dict] = {}

    def get(name: str, *settings: str) -> dict:
        key = name, *settings
        if key not in ends:
            work_dir = tmp_path_factory.mktemp('whole') / 'w'
            code, output = train(name, work_dir, settings=settings)
            assert code == 0, output[-2000:]
            ends[key] = end(work_dir)
        return ends[key]

    return get


def assert_same(one: dict, other: dict) -> None:
    for part in ('state_dict', 'optimizer'):
        _assert_same(one[part], other[part], part)
    assert one['meta']['iter'] == other['meta']['iter']


def _assert_same(one: object, other: object, name: str) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), f'{name} differs by {(one - other).abs().max()}'
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key, value in one.items():
            _assert_same(value, other[key], f'{name}.{key}')
    elif isinstance(one, list | tuple):
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            _assert_same(a, b, f'{name}.{index}')
    else:
        assert one == other, name


def at_random(name: str, where: str, last: int) -> Any:
    # Each case has numbers of its own, whichever others run.
    number = random.Random(f'{SEED} {name} {where}').randint(1, last)
    return pytest.param(name, where, number, id=f'{name}-{where}-{number}-RS4D_TEST_SEED={SEED}')


@pytest.mark.parametrize(
    ('name', 'where', 'number'),
    [
        ('tiny_distill', 'step', 4),
        at_random('tiny_distill', 'step', 15),
        at_random('tiny_distill', 'write', 6),
        ('tiny_distill', 'validation', 1),
        at_random('tiny', 'step', 15),
        at_random('tiny', 'write', 6),
    ],
)
def test_killed_and_resumed(
    train: Train,
    uninterrupted: Callable[..., dict],
    tmp_path: Path,
    name: str,
    where: str,
    number: int,
) -> None:
    work_dir = tmp_path / 'w'
    code, output = train(name, work_dir, prepare=Kill(where, number))
    assert code == -signal.SIGKILL, output[-2000:]
    for file in work_dir.glob('*.pth'):
        CheckpointLoader.load_checkpoint(str(file), 'cpu')
    code, output = train(name, work_dir, '--resume')
    assert code == 0, output[-2000:]
    assert_same(end(work_dir), uninterrupted(name))
    assert sorted(file.name for file in work_dir.glob('*.pth*')) == ['epoch_3.pth', 'latest.pth']


def test_number_of_workers_and_accumulation_stay_out_of_it(
    train: Train, uninterrupted: Callable[..., dict], tmp_path: Path
) -> None:
    """Killed within a window of accumulated gradients, and resumed with workers."""
    accumulate = 'optim_wrapper.accumulative_counts=3'
    whole = uninterrupted('tiny_distill', accumulate)
    code, _ = train('tiny_distill', tmp_path / 'w', settings=(accumulate,), prepare=Kill('step', 9))
    assert code == -signal.SIGKILL
    workers = ('train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True')
    code, output = train(
        'tiny_distill', tmp_path / 'w', '--resume', settings=(accumulate, *workers)
    )
    assert code == 0, output[-2000:]
    assert 'resumed epoch: 1, iter: 8' in output
    assert_same(end(tmp_path / 'w'), whole)


@pytest.mark.parametrize(
    ('signum', 'where', 'number', 'workers'),
    [
        (signal.SIGTERM, 'step', 7, 0),
        (signal.SIGINT, 'step', 5, 2),
        (signal.SIGTERM, 'validation', 2, 0),
        (signal.SIGINT, 'validation', 1, 0),
    ],
)
def test_asked_to_stop_and_resumed(
    train: Train,
    uninterrupted: Callable[..., dict],
    tmp_path: Path,
    signum: int,
    where: str,
    number: int,
    workers: int,
) -> None:
    settings = (f'train_dataloader.num_workers={workers}', 'default_hooks.checkpoint.interval=5')
    code, output = train(
        'tiny_distill',
        tmp_path / 'w',
        settings=(*settings, 'default_hooks.checkpoint.iter_interval=-1'),
        prepare=Kill(where, number, signum),
    )
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143}[signum], output[-2000:]
    last = output.rstrip().split('\n')[-1]
    epoch, iteration = (2, 10) if where == 'validation' else ((number - 1) // 5, number)
    checkpoint = tmp_path / 'w' / f'epoch_{epoch}_iter_{iteration}.pth'
    assert f"Everything up to '{checkpoint}' is saved" in last
    assert (tmp_path / 'w' / 'latest.pth').resolve() == checkpoint
    code, output = train('tiny_distill', tmp_path / 'w', '--resume', settings=settings)
    assert code == 0, output[-2000:]
    assert_same(end(tmp_path / 'w'), uninterrupted('tiny_distill'))


def test_a_full_disk_leaves_the_last_checkpoint(train: Train, tmp_path: Path) -> None:
    """The third checkpoint does not fit; the second one is still read, and resumed from."""
    code, output = train('tiny_distill', tmp_path / 'w', prepare=FullDisk(writes=2))
    assert code == 2, output[-2000:]
    last = output.rstrip().split('\n')[-1]
    assert 'could not be written' in last
    assert 'epoch_0_iter_4.pth' not in last
    kept = tmp_path / 'w' / 'epoch_0_iter_4.pth'
    assert [file.name for file in (tmp_path / 'w').glob('epoch*')] == [kept.name]
    CheckpointLoader.load_checkpoint(str(kept), 'cpu')
    code, output = train('tiny_distill', tmp_path / 'w', '--resume')
    assert code == 0, output[-2000:]
    assert 'resumed epoch: 0, iter: 4' in output


def test_ten_losses_in_a_row_that_are_no_numbers_end_the_training(
    train: Train, tmp_path: Path
) -> None:
    code, output = train('tiny_distill', tmp_path / 'w', prepare=Poison([1, *range(3, 13)]))
    assert code == 2, output[-2000:]
    last = output.rstrip().split('\n')[-1]
    assert 'has not been finite for 10 steps in a row' in last
    assert 'iteration 12' in last
    assert len(re.findall(r'scenes/imgs/[\w/]+\.png', last)) == 2
    assert len(re.findall('the step was skipped', output)) == 11
    assert '(1 in a row, 2 in all)' in output


def test_a_few_losses_that_are_no_numbers_are_left_out(train: Train, tmp_path: Path) -> None:
    code, output = train('tiny', tmp_path / 'w', prepare=Poison(range(2, 11)))
    assert code == 0, output[-2000:]
    assert '9 steps were skipped' in output
    state = end(tmp_path / 'w')['state_dict']
    assert all(value.isfinite().all() for value in state.values())
