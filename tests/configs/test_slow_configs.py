"""Every config trains for one iteration and predicts, reduced, on generated data.

Left out of the default run; `make test-configs` is this file.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from generated_data import write_data
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from reduced_configs import LEAVES, names, reduced_config

from rs4d.cli import main
from rs4d.engine.runner import AtomicRunner

pytestmark = pytest.mark.slow_configs


class Watch(Hook):
    """Sees what an iteration trained, and how many objects, or maps of stage 1, came out."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.iterations = 0
        self.predictions = 0
        self.without_gradient: set[str] = set()
        self.reached: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        parameters = {n: p for n, p in runner.model.named_parameters() if p.requires_grad}

        def look(*_: object) -> None:
            for name, value in parameters.items():
                if value.grad is None:
                    self.without_gradient.add(name)
                elif value.grad.any():
                    self.reached.add(name.partition('.')[0])

        runner.optim_wrapper.optimizer.register_step_pre_hook(look)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.iterations += 1
        assert outputs is not None
        assert all(torch.isfinite(value).all() for value in outputs.values()), outputs

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: list | None = None
    ) -> None:
        assert outputs is not None
        # Reduced configs keep detections of any score.
        self.predictions += sum(len(getattr(out, 'pred_instances', [out])) for out in outputs)


def cache_teacher(cfg: Config, folder: Path) -> None:
    """Make the embeddings that a config of stage 1 reads from disk."""
    cfg.dump(folder / 'reduced.py')
    assert main('cache-teacher', folder / 'reduced.py', '--device', 'cpu') == 0


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_config_trains_and_predicts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RS4D_DATA_ROOT', 'data')
    monkeypatch.setenv('RS4D_CACHE_ROOT', 'cache')
    cfg = reduced_config(path)
    write_data(cfg)
    if cfg.model.get('teacher_cache'):
        cache_teacher(cfg, tmp_path)
    cfg.update(work_dir='work', experiment_name=names(path), log_level='WARNING')
    # Checkpoints of Adam's state would take half a gigabyte each; other tests look at them.
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop('latest')
    watch = Watch()
    with DefaultScope.overwrite_default_scope('mmdet'):
        runner = AtomicRunner.from_cfg(cfg)
        runner.register_hook(watch)
        runner.train()
        runner.test()
    assert watch.iterations >= 1
    assert watch.predictions >= 1
    assert watch.without_gradient == set()
    trained = [name for name, p in runner.model.named_parameters() if p.requires_grad]
    parts = {name.partition('.')[0] for name in trained}
    assert watch.reached == parts
