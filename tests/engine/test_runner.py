"""What the runner that configs name does under any tool."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS

from rs4d.datasets.scenes import ensure_scenes
from rs4d.engine import AtomicRunner

CONFIG = Path(__file__).parents[1] / 'tools' / 'tiny_config.py'


def test_references_are_resolved_under_other_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MMDetection's tools/train.py reads a config and builds its runner."""
    ensure_scenes(tmp_path / 'scenes', num_train=4, num_val=2, size=64, seed=0)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(tmp_path / 'scenes'))
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(dict(max_epochs=5))
    cfg.work_dir = str(tmp_path / 'work')
    assert cfg.param_scheduler[1].T_max == '${max_epochs}'
    runner = RUNNERS.build(cfg)
    assert isinstance(runner, AtomicRunner)
    assert runner.cfg.param_scheduler[1].T_max == 5
    assert '${' not in runner.cfg.pretty_text
    assert '${' in cfg.pretty_text  # the caller's own is as it was
