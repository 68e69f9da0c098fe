"""Training, resuming, testing and interrupting from the command line."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.runner import CheckpointLoader
from training_process import start, wait

from rs4d.engine import TrainingStopped

Call = Callable[..., tuple[int, str, str]]
Trained = tuple[Path, subprocess.CompletedProcess[str]]


def test_train_writes_a_checkpoint_and_no_leftovers(trained: Trained) -> None:
    work_dir, result = trained
    assert result.returncode == 0, result.stderr
    assert (work_dir / 'epoch_1.pth').is_file()
    assert not list(work_dir.glob('*.part'))
    assert 'coco/segm_mAP' in result.stdout
    # Plain lines where there is no terminal, and the scalars that plot_log.py reads.
    assert not {'\r', '\x1b'} & set(result.stdout + result.stderr)
    assert '"images_per_s"' in next(work_dir.rglob('vis_data/scalars.json')).read_text()


def test_test_prints_and_writes_the_metrics(
    trained: Trained, config: str, tmp_path: Path, call: Call
) -> None:
    checkpoint = trained[0] / 'epoch_1.pth'
    out = tmp_path / 'predictions.json'
    options = ('--work-dir', tmp_path / 'w', '--out', out, '--show-dir', 'pictures')
    code, output, _ = call('test.py', config, checkpoint, *options)
    assert code == 0, output[-2000:]
    metrics = json.loads((tmp_path / 'w' / 'metrics.json').read_text())
    for name in ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50'):
        assert 0 <= metrics[f'coco/{name}'] <= 1
        assert re.search(rf'coco/{name} +{metrics[f"coco/{name}"]:.4f}', output)
    assert metrics['checkpoint'] == str(checkpoint)
    run = metrics['run']
    (data,) = run['data']
    assert (data['type'], data['annotations']) == ('ScenesInsSegDataset', 'scenes_val.json')
    assert data['folder'] == 'scenes'
    assert (run['epochs'], run['iterations'], run['seed']) == (1, 2, 0)
    assert 0 < run['training']['minutes'] < 2
    assert run['training']['images'] == 4
    assert run['training']['memory_mb'] > 100
    assert run['model']['parameters'] > 10_000
    assert run['model']['multiply_adds'] > 100_000
    assert run['test']['command'].split()[0]
    assert run['test']['images'] == 2
    assert 0 < run['test']['seconds_an_image'] < 10
    assert run['test']['machine'].startswith('1 thread, ')
    for instance in json.loads(out.read_text()):
        assert sorted(instance) == ['bbox', 'category_id', 'image_id', 'score', 'segmentation']
    pictures = list((tmp_path / 'w').rglob('pictures/*'))
    assert len(pictures) == 2
    for picture in pictures:
        # Truth beside prediction of a square scene, 64 pixels enlarged to be legible.
        assert cv2.imread(str(picture)).shape == (256, 512, 3)

    # Again: what was written before is still there.
    code, output, _ = call('test.py', config, checkpoint, *options)
    assert code == 0, output[-2000:]
    assert len(list((tmp_path / 'w').glob('metrics*.json'))) == 2
    assert len(list(tmp_path.glob('predictions*.json'))) == 2


def test_resume_goes_on_after_the_last_epoch(
    trained: Trained, config: str, tmp_path: Path, call: Call
) -> None:
    first = CheckpointLoader.load_checkpoint(str(trained[0] / 'epoch_1.pth'), 'cpu')
    options = ('--cfg-options', 'train_cfg.max_epochs=2', 'train_cfg.val_interval=5')
    code, output, _ = call(
        'train.py',
        config,
        '--work-dir',
        tmp_path,
        '--resume',
        trained[0] / 'epoch_1.pth',
        *options,
    )
    assert code == 0, output[-2000:]
    assert not (tmp_path / 'epoch_1.pth').exists()
    second = CheckpointLoader.load_checkpoint(str(tmp_path / 'epoch_2.pth'), 'cpu')
    assert (first['meta']['epoch'], second['meta']['epoch']) == (1, 2)
    assert second['meta']['iter'] == 2 * first['meta']['iter']

    # The newest one is found, also where there is nothing left to do.
    code, output, _ = call('train.py', config, '--work-dir', tmp_path, '--resume', *options)
    assert code == 0, output[-2000:]
    assert 'epoch_2.pth' in output


def test_resume_without_a_checkpoint_starts_from_the_beginning(
    config: str, tmp_path: Path, call: Call
) -> None:
    code, output, _ = call('train.py', config, '--work-dir', tmp_path, '--resume')
    assert code == 0, output[-2000:]
    assert 'no checkpoint to resume from' in output
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_checks_leave_the_training_as_it_would_be(
    trained: Trained, scenes: Path, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmengine.runner import Runner

    from rs4d.config import load_config

    monkeypatch.setenv('RS4D_TINY_ROOT', str(scenes))
    cfg = load_config(config)
    cfg.work_dir = str(tmp_path)
    Runner.from_cfg(cfg).train()
    plain, checked = (
        CheckpointLoader.load_checkpoint(str(folder / 'epoch_1.pth'), 'cpu')['state_dict']
        for folder in (tmp_path, trained[0])
    )
    for name, value in plain.items():
        torch.testing.assert_close(checked[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(os.name == 'nt', reason='sends SIGINT')
def test_interrupt_says_what_is_saved_and_how_to_go_on(
    scenes: Path, config: str, tmp_path: Path
) -> None:
    options = ('train_cfg.max_epochs=10000', 'train_cfg.val_interval=10000')
    log = tmp_path / 'interrupted.log'
    process = start(
        [config, '--work-dir', tmp_path, '--cfg-options', *options],
        dict(RS4D_TINY_ROOT=str(scenes)),
        log,
    )
    deadline = time.monotonic() + 90
    while not (tmp_path / 'last_checkpoint').exists() and process.is_alive():
        assert time.monotonic() < deadline, 'no checkpoint after 90 s'
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    code, output = wait(process, log), log.read_text()
    assert code == 130, output[-2000:]
    last = output.rstrip().split('\n')[-1]
    assert last.startswith('train: interrupted.')
    assert str(tmp_path / 'epoch_') in last
    assert f'rs4d train {config} --work-dir {tmp_path} --resume' in last
    assert 'Traceback' not in output


def test_the_terminal_shows_few_lines_before_the_first_step(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """What, on what, with what, where to; the environment and the config are in the log."""
    work_dir, result = trained
    shown = (result.stderr + result.stdout).partition('Epoch(train)')[0].splitlines()
    assert len(shown) <= 40
    for word in ('config', 'model', 'train', 'steps', 'device', 'output', 'log'):
        assert any(f'{word}   ' in line for line in shown), word
    log = next(work_dir.glob('*/*.log')).read_text()
    assert 'System environment:' in log
    assert 'train_dataloader = dict(' in log
    for noise in ('OneDL', 'is the alias', 'Using env variable', 'paramwise', 'faster_coco'):
        assert noise not in result.stdout + result.stderr


@pytest.mark.parametrize('stop', [KeyboardInterrupt(), TrainingStopped(signal.SIGTERM)])
def test_interrupted_while_the_config_is_written(
    call: Call,
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: KeyboardInterrupt,
) -> None:
    """MMEngine says of a config that it could not format that its syntax is wrong."""

    def interrupted(*args: object, **kwargs: object) -> None:
        raise stop

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', interrupted)
    code, output, last = call('train.py', config, '--work-dir', tmp_path)
    assert code == (143 if hasattr(stop, 'signum') else 130), output[-2000:]
    assert last == (
        'train: interrupted. No checkpoint had been written yet; the same command starts again.'
    )
