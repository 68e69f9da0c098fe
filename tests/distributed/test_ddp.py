"""Two CPU processes train as one, each on its share of the images."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader
from training_process import ROOT, FullDisk, Kill, Poison, Record, free_port, run, run_ranks

from rs4d.datasets.scenes import ensure_scenes

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='needs Gloo and forkserver')

CONFIG = ROOT / 'tests' / 'tools' / 'tiny_distill_config.py'
IMAGES = 10
NO_NOISE = 'model.corruption.schedule.warmup_iters=1000'


@pytest.fixture(scope='module')
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp('ddp') / 'scenes'
    ensure_scenes(folder, num_train=IMAGES, num_val=2, size=64, seed=0)
    return dict(RS4D_TINY_ROOT=str(folder))


@pytest.fixture
def train(environment: dict[str, str], tmp_path: Path) -> Callable[..., tuple[dict, list]]:
    """Return a function that trains, and returns the checkpoint and what each rank recorded."""

    def call(
        ranks: int, *options: str, flags: tuple = (), prepare: tuple = ()
    ) -> tuple[dict, list[list[dict]]]:
        folder = tmp_path / f'ranks{ranks}'
        folder.mkdir()
        arguments = [CONFIG, '--work-dir', folder / 'w', *flags, '--cfg-options', *options]
        record = Record(folder, *prepare)
        log = folder / 'out.log'
        if ranks == 1:
            codes = [run(arguments, environment, log, record)]
        else:
            codes = run_ranks(ranks, arguments, environment, log, record)
        assert codes == [0] * ranks, ''.join(f.read_text()[-1500:] for f in folder.glob('*.log'))
        lines = [
            [json.loads(line) for line in (folder / f'rank{i}.jsonl').read_text().splitlines()]
            for i in range(ranks)
        ]
        return CheckpointLoader.load_checkpoint(str(folder / 'w' / 'epoch_3.pth'), 'cpu'), lines

    return call


def test_two_ranks_are_one_process_with_twice_the_batch(train: Callable) -> None:
    two, records = train(2, 'train_dataloader.batch_size=2', NO_NOISE)
    one, (whole,) = train(1, 'train_dataloader.batch_size=4', NO_NOISE)
    for name, value in one['state_dict'].items():
        torch.testing.assert_close(two['state_dict'][name], value, rtol=1e-5, atol=1e-5)
    assert one['meta']['iter'] == two['meta']['iter'] == 9
    # The weights have moved by far more than they differ.
    assert abs(whole[0]['weights'] - whole[-1]['weights']) > 1e-3

    for epoch in range(3):
        seen = [
            [i for line in r if line['epoch'] == epoch for i in line['images']] for r in records
        ]
        assert len(seen[0]) == len(seen[1]) == IMAGES / 2
        assert len({*seen[0], *seen[1]}) == IMAGES
    # And each image was flipped as it was in one process.
    flips = [
        {
            (line['epoch'], image): flip
            for line in lines
            for image, flip in zip(line['images'], line['flips'], strict=True)
        }
        for lines in (whole, records[0] + records[1])
    ]
    assert flips[0] == flips[1]
    assert len(set(flips[0].values())) == 2


def test_the_corruption_controller_is_in_step(train: Callable) -> None:
    _, (first, second) = train(2, 'train_cfg.max_epochs=3')
    assert [line['controller'] for line in first] == [line['controller'] for line in second]
    assert len({line['controller']['schedule.error_average'] for line in first}) == len(first)
    assert first[-1]['noise'] > 0


@pytest.mark.parametrize(
    ('accumulate', 'moved'),
    [
        (1, [True, True, False, *[True] * 11]),
        # After steps 2, 4 and so on, the fourth from what the third left; and after the last.
        (2, [*[True, False] * 6, True, True]),
    ],
)
def test_a_loss_that_is_no_number_on_one_rank(
    train: Callable, accumulate: int, moved: list[bool]
) -> None:
    """Both skip the step, also if it is the last of its window, in which gradients are exchanged."""
    _, (first, second) = train(
        2,
        'train_dataloader.batch_size=1',
        flags=('--accumulate', accumulate),
        prepare=(Poison([4], 1),),
    )
    assert len(first) == 15
    assert [line['weights'] for line in first] == [line['weights'] for line in second]
    assert [a['weights'] != b['weights'] for a, b in pairwise(first)] == moved


def test_one_of_two_ranks_is_asked_to_stop(environment: dict[str, str], tmp_path: Path) -> None:
    """Both leave after the same step, and one says how to go on, for both."""
    arguments = [CONFIG, '--work-dir', tmp_path / 'w']
    stop = Kill('step', 4, signal.SIGTERM, rank=1)
    assert run_ranks(2, arguments, environment, tmp_path / 'out', stop) == [143, 143]
    first, second = (tmp_path / f'out.{rank}.log' for rank in range(2))
    checkpoint = tmp_path / 'w' / 'epoch_1_iter_4.pth'
    last = first.read_text().rstrip().split('\n')[-1]
    assert f"interrupted. Everything up to '{checkpoint}' is saved" in last
    assert last.endswith(
        f'bash tools/dist_train.sh {CONFIG} 2 --work-dir {tmp_path / "w"} --resume'
    )
    assert 'interrupted' not in second.read_text()
    assert 'No checkpoint' not in second.read_text()
    assert run_ranks(2, [*arguments, '--resume'], environment, tmp_path / 'out') == [0, 0]
    assert 'resumed epoch: 1, iter: 4' in first.read_text()
    assert (tmp_path / 'w' / 'epoch_3.pth').is_file()


def test_a_full_disk_ends_all_ranks(environment: dict[str, str], tmp_path: Path) -> None:
    """Both leave, although only one of them writes, and the last checkpoint stays."""
    work_dir = tmp_path / 'w'
    work_dir.mkdir()
    (work_dir / 'epoch_9.pth.123.part').write_bytes(b'of a run that was killed')
    arguments = [CONFIG, '--work-dir', work_dir]
    codes = run_ranks(2, arguments, environment, tmp_path / 'out', FullDisk(writes=1))
    logs = [(tmp_path / f'out.{rank}.log').read_text() for rank in range(2)]
    assert codes == [2, 2], logs[0][-1500:]
    for log in logs:
        assert "epoch_2.pth' could not be written: File too large" in log.rstrip().split('\n')[-1]
    assert sorted(file.name for file in work_dir.glob('epoch*')) == ['epoch_1.pth']
    CheckpointLoader.load_checkpoint(str(work_dir / 'epoch_1.pth'), 'cpu')


def test_the_script_starts_two_processes(environment: dict[str, str], tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    shutil.rmtree(ROOT / '.dist_test', ignore_errors=True)
    result = subprocess.run(
        ['bash', 'tools/dist_train.sh', CONFIG, '2', '--work-dir', tmp_path, '--cfg-options',
         'train_cfg.max_epochs=1'],
        cwd=ROOT,
        env={**os.environ, **environment, 'MASTER_PORT': str(free_port()), 'PATH': path},
        capture_output=True,
        text=True,
        timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    # In which the ranks exchange the results of the validation.
    assert not (ROOT / '.dist_test').exists()
    assert not list(tmp_path.glob('.results*'))
    assert (
        CheckpointLoader.load_checkpoint(str(tmp_path / 'epoch_1.pth'), 'cpu')['meta']['iter'] == 3
    )
