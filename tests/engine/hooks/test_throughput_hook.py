"""Images per second are those of all ranks over the time of the steps alone; memory is the peak."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clocked import Takes, logged
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.engine import ThroughputHook
from rs4d.engine.hooks import throughput_hook


@pytest.mark.parametrize('ranks', [1, 3])
@pytest.mark.parametrize(
    'loop',
    [
        dict(by_epoch=True, max_epochs=2),
        dict(by_epoch=False, max_iters=8, val_interval=2),
    ],
    ids=['epochs', 'iterations'],
)
def test_images_of_all_ranks_over_the_time_of_steps(
    toy_runner: Callable[..., Runner],
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    ranks: int,
    loop: dict[str, Any],
) -> None:
    monkeypatch.setattr(throughput_hook, 'get_world_size', lambda: ranks)
    steps = [1.0, 2.0, 0.5, 4.0, 1.0, 1.0, 3.0, 0.25]
    by_epoch = loop['by_epoch']
    runner = toy_runner(
        ThroughputHook(window_size=3),
        Takes(clock, steps),
        batch_size=5,
        # A loop over iterations sleeps two seconds where a sampler ends.
        sampler='DefaultSampler' if by_epoch else 'InfiniteSampler',
        train_cfg=loop,
        log_processor=dict(by_epoch=by_epoch),
    )
    runner.train()
    assert clock[0] > 8000
    windows = [steps[max(0, i - 2) : i + 1] for i in range(8)]
    expected = [ranks * 5 * len(window) / sum(window) for window in windows]
    found = [entry['images_per_s'] for entry in logged(runner, 'images_per_s')]
    assert found == pytest.approx(expected)


@pytest.mark.skipif(sys.platform != 'linux', reason='reads what Linux counts')
def test_memory_is_the_peak_in_mb(
    toy_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Takes100MB(Hook):
        priority = 'VERY_HIGH'

        def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
            # The peak of the tests before may lie above.
            now = int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()
            over = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - now
            if runner.iter == 4:
                np.ones(over + 100 * 2**20, np.uint8)

    monkeypatch.setattr(throughput_hook.torch.cuda, 'is_available', lambda: False)
    runner = toy_runner(ThroughputHook(), Takes100MB())
    runner.train()
    memory = [entry['memory'] for entry in logged(runner, 'memory')]
    assert memory[4] - memory[3] == pytest.approx(100, abs=20)
    assert memory[-1] >= memory[4]


def test_on_gpus_the_memory_is_mmengines(
    toy_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = toy_runner(ThroughputHook())
    monkeypatch.setattr(throughput_hook.torch.cuda, 'is_available', lambda: True)
    hook = next(hook for hook in runner.hooks if isinstance(hook, ThroughputHook))
    hook.after_train_iter(runner, 0, dict(inputs=[0, 0]))
    assert 'train/images_per_s' in runner.message_hub.log_scalars
    assert 'train/memory' not in runner.message_hub.log_scalars
