"""What the runner that configs name does under any tool."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS
from torch import nn

from rs4d.config import load_config
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


@pytest.mark.filterwarnings('error:.*Visualizer.*has been created')
def test_each_run_of_a_process_writes_into_its_own_folder(tmp_path: Path) -> None:
    settings = load_config('rs4d::rs4d/rs4d-tiny_light_ssdd.py').visualizer
    for name in ('one', 'other'):
        runner = AtomicRunner(
            model=nn.Linear(1, 1),
            work_dir=str(tmp_path / name),
            visualizer=copy.deepcopy(settings),
            default_scope='mmdet',
        )
        runner.visualizer.add_scalar('loss', 1.0)
        (file,) = (tmp_path / name).rglob('scalars.json')
        assert file.read_text().count('loss') == 1
    assert len(list(tmp_path.rglob('scalars.json'))) == 2
