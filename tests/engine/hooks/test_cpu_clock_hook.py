"""The processor's time of steps, over all starts, and the trial that measures one."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clocked import Takes, logged
from mmengine.runner import Runner

from rs4d.engine import CpuClockHook
from rs4d.engine.hooks import cpu_clock_hook

STEPS = [60.0, 120.0, 30.0, 30.0, 60.0, 60.0, 180.0, 60.0]


@pytest.mark.parametrize(
    'loop',
    [
        dict(by_epoch=True, max_epochs=2),
        dict(by_epoch=False, max_iters=8, val_interval=4),
    ],
    ids=['epochs', 'iterations'],
)
def test_minutes_of_steps_without_validations(
    toy_runner: Callable[..., Runner], clock: list[float], loop: dict[str, Any]
) -> None:
    by_epoch = loop['by_epoch']
    runner = toy_runner(
        CpuClockHook(),
        Takes(clock, STEPS),
        batch_size=5,
        sampler='DefaultSampler' if by_epoch else 'InfiniteSampler',
        train_cfg=loop,
        log_processor=dict(by_epoch=by_epoch),
    )
    runner.train()
    assert clock[0] > 2000
    entries = logged(runner, 'cpu_minutes')
    minutes = [entry['cpu_minutes'] for entry in entries if 'lr' in entry or 'loss' in entry]
    assert minutes == pytest.approx([1, 3, 3.5, 4, 5, 6, 9, 10])
    validations = [entry['cpu_minutes'] for entry in entries if 'lr' not in entry]
    assert [value for value in validations if value in (4, 10)] == pytest.approx([4, 10])
    if by_epoch:
        found = json.loads((Path(runner.work_dir) / 'cpu_clock.json').read_text())
        assert found == dict(epoch=2, cpu_minutes=pytest.approx(10))


def test_a_resumed_training_counts_on(
    toy_runner: Callable[..., Runner], clock: list[float]
) -> None:
    hook = CpuClockHook()
    runner = toy_runner(
        hook,
        Takes(clock, STEPS),
        batch_size=5,
        sampler='DefaultSampler',
        train_cfg=dict(by_epoch=True, max_epochs=2),
    )
    runner.message_hub.update_info('cpu_seconds', 600.0)
    runner.train()
    assert runner.message_hub.get_info('cpu_seconds') == pytest.approx(1200)


def test_a_trial_writes_its_median_and_asks_to_stop(
    toy_runner: Callable[..., Runner], clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cpu_clock_hook.signal, 'raise_signal', asked.append)
    runner = toy_runner(
        CpuClockHook(trial_steps=3),
        Takes(clock, [900.0, 900.0, 900.0, 1.0, 5.0, 2.0, 3.0, 3.0]),
        batch_size=5,
        sampler='DefaultSampler',
        train_cfg=dict(by_epoch=True, max_epochs=2),
    )
    runner.train()
    assert asked == [signal.SIGTERM]
    found = json.loads((Path(runner.work_dir) / 'trial.json').read_text())
    assert found == dict(cpu_seconds_per_step=2.0, steps_per_epoch=4)
