"""A distillation of seconds, from the parts of the real configs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner

import rs4d.engine.runner  # noqa: F401 - registers AtomicRunner
from rs4d.config import load_config
from rs4d.datasets.scenes import ensure_scenes
from rs4d.visualization import LegibleVisualizer

CONFIG = Path(__file__).parents[1] / 'tools' / 'tiny_distill_config.py'


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    """Names of a config are MMDetection's, whichever scope a test before this one has left."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten scenes to train on and two to validate on."""
    folder = tmp_path_factory.mktemp('visualization') / 'scenes'
    ensure_scenes(folder, num_train=10, num_val=2, size=64, seed=0)
    return folder


@pytest.fixture
def distillation(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Runner]]:
    """Return a function to the runner of a distillation: an epoch of five steps, with a validation.

    It is built as ``tools/train.py`` does, or with ``plain`` as MMEngine would. Every step is logged.
    """
    monkeypatch.setenv('RS4D_TINY_ROOT', str(scenes))
    # To ask the compiler for its version and to lay out configs takes longer than the training.
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **kwargs: (text, False))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def build(name: str = 'run', plain: bool = False, **options: Any) -> Runner:
        # MMEngine keeps one for a process, with the folder of the run that made it.
        LegibleVisualizer._instance_dict.clear()
        cfg = load_config(CONFIG)
        cfg.merge_from_dict(
            {'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1} | options
        )
        cfg.work_dir = str(tmp_path / name)
        # MMEngine keeps a logger for each experiment, too.
        cfg.experiment_name = f'{tmp_path.name}_{name}'
        if plain:
            cfg.train_cfg.type, cfg.optim_wrapper.type = 'EpochBasedTrainLoop', 'OptimWrapper'
        cfg.runner_type = 'Runner' if plain else 'AtomicRunner'
        return RUNNERS.build(cfg)

    yield build
    torch.set_num_threads(threads)
    LegibleVisualizer._instance_dict.clear()
