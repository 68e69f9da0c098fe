"""The study's order, what it does not do twice, and its table; its trainings are played."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FIGURES = dict(bbox_mAP=0.1, bbox_mAP_50=0.2, segm_mAP=0.3, segm_mAP_50=0.4)


def log(folder: Path, time: str, *validations: tuple[int, float]) -> None:
    """Write scalars as MMEngine does: trainings' lines among those of validations."""
    file = folder / time / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    lines = [dict(loss=1.0, step=1)]
    for step, more in validations:
        lines.append({f'coco/{k}': v + more for k, v in FIGURES.items()} | dict(step=step))
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines))


class Recorder:
    """In the place of processes: trainings leave a checkpoint and a log, one may fail."""

    def __init__(self, root: Path) -> None:
        self.root, self.commands, self.failing = root, [], ''

    def __call__(self, command: list[str], cwd: Path, **_: object) -> SimpleNamespace:
        assert command[0] == sys.executable
        assert cwd == self.root
        self.commands.append(command[1:])
        if command[1] == 'tools/train.py':
            folder = self.root / command[command.index('--work-dir') + 1]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'epoch_1.pth').touch()
            if folder.name == self.failing:
                return SimpleNamespace(returncode=2)
            seed = float(folder.name[-1]) if folder.name[-1].isdigit() else 0.0
            log(folder, f'time{len(self.commands)}', (1, 0.0), (2, seed / 10))
        return SimpleNamespace(returncode=0)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, Recorder]:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / 'tools')
    module = importlib.import_module('distill_study')
    recorder = Recorder(tmp_path)
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(module.subprocess, 'run', recorder)
    return module, recorder


def test_the_last_validation_counts_in_a_resumed_run(study: tuple, tmp_path: Path) -> None:
    module, _ = study
    log(tmp_path / 'run', '20260101_000000', (1, 0.0), (2, 0.1))
    log(tmp_path / 'run', '20260102_000000', (2, 0.2), (3, 0.3))
    figures = module.final_figures(Path('run'))
    assert figures == pytest.approx({name: value + 0.3 for name, value in FIGURES.items()})
    with pytest.raises(SystemExit, match="'other' has no validation"):
        module.final_figures(Path('other'))
    log(tmp_path / 'trained_only', 't')
    with pytest.raises(SystemExit, match="'trained_only' has no validation"):
        module.final_figures(Path('trained_only'))


def test_report(study: tuple, tmp_path: Path) -> None:
    module, _ = study
    log(tmp_path / 'distilled_0', 't', (1, 0.5), (2, 0.1))
    log(tmp_path / 'distilled_7', 't', (1, 0.5), (2, 0.2))
    log(tmp_path / 'scratch_0', 't', (2, 0.0))
    runs = dict(distilled=[Path('distilled_0'), Path('distilled_7')], scratch=[Path('scratch_0')])
    assert module.report(runs).split('\n') == [
        '| start | seed | bbox_mAP | bbox_mAP_50 | segm_mAP | segm_mAP_50 |',
        '|---|---|---|---|---|---|',
        '| distilled | 0 | 0.200 | 0.300 | 0.400 | 0.500 |',
        '| distilled | 7 | 0.300 | 0.400 | 0.500 | 0.600 |',
        '| distilled | mean | 0.250 | 0.350 | 0.450 | 0.550 |',
        '| scratch | 0 | 0.100 | 0.200 | 0.300 | 0.400 |',
        '| scratch | mean | 0.100 | 0.200 | 0.300 | 0.400 |',
    ]


def test_the_order_of_a_study(study: tuple, tmp_path: Path) -> None:
    module, recorder = study
    module.main(['--work-dir', 'w', '--cfg-options', 'a=1', 'b=2'])
    trainings = [command for command in recorder.commands if command[0] == 'tools/train.py']
    assert [command[3] for command in trainings] == [
        'w/stage1',
        'w/distilled_0',
        'w/scratch_0',
        'w/distilled_1',
        'w/scratch_1',
    ]
    # Which of the settings come from the user, and what each start adds.
    options = [command[command.index('--cfg-options') + 1 :] for command in trainings]
    assert options[0] == ['a=1', 'b=2']
    assert options[3] == [
        'randomness.seed=1',
        'model.backbone.init_cfg.checkpoint=w/stage1/latest.pth',
        'a=1',
        'b=2',
    ]
    assert options[4] == ['randomness.seed=1', 'a=1', 'b=2']
    assert all('--resume' not in command for command in trainings)
    *_, plot = recorder.commands
    assert plot[0] == 'tools/analysis_tools/plot_log.py'
    assert plot[1:5] == ['w/distilled_0', 'w/distilled_1', 'w/scratch_0', 'w/scratch_1']
    assert '| scratch | mean | 0.150 |' in (tmp_path / 'w' / 'results.md').read_text()


def test_an_interrupted_study_goes_on(study: tuple, tmp_path: Path) -> None:
    module, recorder = study
    recorder.failing = 'scratch_0'
    with pytest.raises(SystemExit, match=r'stopped \(exit code 2\)'):
        module.main(['--seeds', '0', '--work-dir', 'w'])
    assert not (tmp_path / 'w' / 'results.md').exists()
    recorder.failing, recorder.commands = '', []
    module.main(['--seeds', '0', '--work-dir', 'w'])
    first, plot = recorder.commands
    assert first[3] == 'w/scratch_0'
    assert '--resume' in first
    assert 'plot_log' in plot[0]
    recorder.commands = []
    module.main(['--seeds', '0', '--work-dir', 'w'])
    assert len(recorder.commands) == 1


def test_the_configs_are_there(study: tuple) -> None:
    module, _ = study
    root = Path(__file__).parents[2]
    for config in (module.STAGE_1, *module.STARTS.values()):
        assert (root / config).is_file()
