"""Trainings as users start them, in processes of their own."""

import json
import math
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from rs4d.datasets.scenes import ensure_scenes

from ..processes import COMMAND, last_line, plain_environment
from .findings import Finding

CONFIG = 'rs4d::rs4d/rs4d-tiny_light_coco.py'
SSDD_CONFIG = 'rs4d::rs4d/rs4d-tiny_light_ssdd.py'
# Flags of the trainings that are compared; the first one is right.
VARIANTS = dict(float32=(), amp=('--amp', 'bf16'), compiled=('--compile',))
# How far the first loss of a variant may lie from that of float32.
_SAME = 0.05
# Seconds that a training may take to save, once it was asked to end.
_TO_SAVE = 120


def check_trainings(
    out: Path,
    images: int = 80,
    processes: int = 1,
    variants: Mapping[str, Sequence[str]] = VARIANTS,
    image_size: int = 256,
) -> Iterator[Finding]:
    """Train a tiny detector on generated scenes: plainly, in bfloat16, compiled, and in processes.

    What passes has finite losses, and begins with the loss of float32.

    Args:
        out: Folder for scenes and work dirs.
        images: That it trains on, once.
        processes: Of the training in several; fewer than two leave it out.
        variants: Flags by name.
        image_size: Height and width of images in pixels.
    """
    scenes = out / 'scenes'
    ensure_scenes(scenes, num_train=images, num_val=4, size=image_size, seed=0)
    words = ['train', CONFIG, '--data', str(scenes), '--images', 'imgs', '--overwrite']
    words += ['--train', 'annotations/scenes_train.json', '--val', 'annotations/scenes_val.json']
    options = ['max_epochs=1', 'default_hooks.logger.interval=1', 'randomness.seed=0']
    options += ['log_processor.window_size=1']  # the seconds of a step, and not of several
    options += [f'image_size={image_size}']
    right: float | None = None
    for name, flags in variants.items():
        folder = ['--work-dir', str(out / name)]
        command = [*COMMAND, *words, *folder, *flags, '--cfg-options', *options]
        found, first = _train(' '.join([CONFIG, *flags]), command, out / name, right)
        right = first if right is None else right
        yield found
    if processes < 2:
        reason = 'PyTorch finds fewer than two GPUs'
        yield Finding('training', 'several processes', 'not run', reason)
        return
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += [f'--nproc-per-node={processes}', *COMMAND[1:], *words]
    command += ['--work-dir', str(out / 'processes'), '--launcher', 'pytorch']
    command += ['--cfg-options', *options]
    # They see other images than one process does, and begin with another loss.
    yield _train(f'{CONFIG}, {processes} processes', command, out / 'processes', None)[0]


def _train(
    subject: str, command: Sequence[str], work_dir: Path, right: float | None
) -> tuple[Finding, float | None]:
    """Train, and judge the losses; ``right`` is where they should begin, None anywhere.

    Returns:
        What was found, and the first loss, if there is one.
    """
    fault = _run(command, work_dir.with_name(f'{work_dir.name}.log'))
    if fault:
        return Finding('training', subject, 'failed', fault), None
    losses, seconds = _steps(work_dir)
    text = f'first loss {losses[0]:.4g}, last {losses[-1]:.4g}, {seconds:.3g} s a step'
    begins = right is None or abs(losses[0] - right) <= _SAME * abs(right)
    if not begins:
        text += f'; float32 begins with {right:.4g}'
    passed = begins and all(map(math.isfinite, losses))
    return Finding('training', subject, 'passed' if passed else 'failed', text), losses[0]


def train_on_ssdd(out: Path, minutes: float, options: Sequence[str] = ()) -> Iterator[Finding]:
    """Train the tiny recipe on SSDD for some minutes, and score it.

    Args:
        out: Folder for work dirs.
        minutes: After which the training is asked to end.
        options: More for ``--cfg-options``.
    """
    root = Path(os.environ.get('RS4D_DATA_ROOT', 'data'))
    subject = f'{SSDD_CONFIG}, {minutes:g} minutes'
    if not (root / 'SSDD').is_dir():
        reason = f"there is no folder SSDD in '{root}'; RS4D_DATA_ROOT names another one"
        yield Finding('SSDD', subject, 'not run', reason)
        return
    work_dir = out / 'ssdd'
    words = ['train', SSDD_CONFIG, '--work-dir', str(work_dir), '--overwrite']
    if torch.cuda.is_available():
        words += ['--amp', 'bf16']
    log = out / 'ssdd.log'
    fault = _run([*COMMAND, *words, '--cfg-options', *options], log, 60 * minutes)
    if not fault:
        words = ['test', SSDD_CONFIG, str(work_dir / 'latest.pth'), '--work-dir', str(work_dir)]
        fault = _run([*COMMAND, *words, '--cfg-options', *options], out / 'ssdd_test.log')
    if fault:
        yield Finding('SSDD', subject, 'failed', fault)
        return
    losses, seconds = _steps(work_dir)
    scores = json.loads((work_dir / 'metrics.json').read_text())
    found = ', '.join(
        f'{kind} AP {scores[f"coco/{kind}_mAP"]:.3f} / {scores[f"coco/{kind}_mAP_50"]:.3f}'
        for kind in ('bbox', 'segm')
    )
    yield Finding(
        'SSDD', subject, 'measured', f'{len(losses)} logged steps, {seconds:.3g} s each; {found}'
    )


def _run(command: Sequence[str], log: Path, limit: float | None = None) -> str | None:
    """Run a process, its output in a file; ask it to end after some seconds.

    Returns:
        None if it did what it should, otherwise the last line of its output.
    """
    asked = False
    with log.open('w') as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=plain_environment()
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            asked = True
            process.send_signal(signal.SIGTERM)
            process.wait(_TO_SAVE)
        finally:
            process.kill()
    # A training that was ended from outside says so by its exit code.
    if process.returncode == 0 or (asked and process.returncode == 128 + signal.SIGTERM):
        return None
    return f'exit code {process.returncode}, {log}: {last_line(log)}'


def _steps(work_dir: Path) -> tuple[list[float], float]:
    """Losses as they were logged, and the median of the steps' seconds but for the first ones."""
    newest = max(work_dir.glob('*/vis_data/scalars.json'))
    steps = [json.loads(line) for line in newest.read_text().splitlines()]
    steps = [step for step in steps if 'loss' in step]
    seconds = [step['time'] for step in steps][len(steps) // 2 :]
    return [step['loss'] for step in steps], statistics.median(seconds)
