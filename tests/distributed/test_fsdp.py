"""A sharded training is the training it would be in whole copies; the teacher stays whole."""

import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from training_process import ROOT, FullDisk, run_ranks

from rs4d.datasets.scenes import ensure_scenes

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='needs Gloo and forkserver')

CONFIGS = ROOT / 'tests' / 'tools'


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / 'scenes'
    ensure_scenes(folder, num_train=8, num_val=2, size=64, seed=0)
    return folder


class NoteUnits:
    """Writes down which modules FSDP made units of, and what the teacher's weights are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> None:
        import os

        from torch.distributed.fsdp import FullyShardedDataParallel

        from rs4d.engine import ResumableTrainLoop

        original = ResumableTrainLoop.run

        def noted(loop: ResumableTrainLoop) -> torch.nn.Module:
            model = loop.runner.model
            units = [
                type(module.module).__name__
                for module in model.modules()
                if isinstance(module, FullyShardedDataParallel)
            ]
            teacher = model.module.teacher.encoder
            whole = [tuple(weight.shape) for weight in teacher.parameters()]
            own = {id(weight) for weight in model.parameters()}
            seen = any(id(weight) in own for weight in teacher.parameters())
            number = sum(weight.numel() for weight in model.parameters())
            note = dict(units=units, teacher=whole, seen=seen, number=number)
            torch.save(note, self.folder / f'note{os.environ["RANK"]}.pth')
            return original(loop)

        setattr(ResumableTrainLoop, 'run', noted)  # noqa: B010 - a method


def test_sharded_as_whole_and_resumed(scenes: Path, tmp_path: Path) -> None:
    ends = {}
    for name in ('tiny_distill', 'tiny_fsdp'):
        work_dir = tmp_path / name
        arguments = [CONFIGS / f'{name}_config.py', '--work-dir', work_dir]
        prepare = NoteUnits(tmp_path) if name == 'tiny_fsdp' else None
        for resume in ([], ['--resume', work_dir / 'epoch_2.pth']):
            codes = run_ranks(
                2, [*arguments, *resume], dict(RS4D_TINY_ROOT=str(scenes)), work_dir, prepare
            )
            logs = ''.join(file.read_text()[-1500:] for file in tmp_path.glob('*.log'))
            assert codes == [0, 0], logs
            path = work_dir / 'epoch_3.pth'
            ends[name, bool(resume)] = CheckpointLoader.load_checkpoint(str(path), 'cpu')
    whole = ends['tiny_distill', False]['state_dict']
    for end in ends.values():
        assert end['state_dict'].keys() == whole.keys()
        for key, value in end['state_dict'].items():
            torch.testing.assert_close(value, whole[key], rtol=1e-5, atol=1e-5)

    notes = [torch.load(tmp_path / f'note{rank}.pth') for rank in range(2)]
    weights = sum(v.numel() for k, v in whole.items() if k.startswith(('student.', 'adapter.')))
    for note in notes:
        assert note['units'] == ['FeatureDistiller', 'RSMamba']
        assert not note['seen']
        assert all(shape for shape in note['teacher'])
    # Together the shares are the model, but for what fills them up to the same length.
    assert weights <= sum(note['number'] for note in notes) <= weights + 4
    shapes = [tuple(value.shape) for key, value in whole.items() if key.startswith('student.')]
    assert sorted(notes[0]['teacher']) == sorted(shapes)


def train(
    scenes: Path, tmp_path: Path, *arguments: object, prepare: object = None
) -> tuple[list[int], list[str]]:
    """Train in two shares; exit codes and what each rank printed."""
    config = CONFIGS / 'tiny_fsdp_config.py'
    words = [config, '--work-dir', tmp_path / 'w', *arguments]
    codes = run_ranks(2, words, dict(RS4D_TINY_ROOT=str(scenes)), tmp_path / 'w', prepare)
    return codes, [(tmp_path / f'w.{rank}.log').read_text() for rank in range(2)]


def weights_of(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    monkeypatch.setenv('RS4D_TINY_ROOT', str(scenes))
    cfg = Config.fromfile(CONFIGS / 'tiny_fsdp_config.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model).state_dict()


def test_what_fits_is_loaded_and_the_rest_is_named(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of(scenes, monkeypatch)
    norm = next(name for name in weights if name.startswith('student') and 'norm' in name)
    weights['elsewhere'] = weights.pop(norm)
    torch.save(dict(state_dict=weights), tmp_path / 'most.pth')
    options = ('--cfg-options', f'load_from={tmp_path / "most.pth"}', 'train_cfg.max_epochs=1')
    codes, (log, _) = train(scenes, tmp_path, *options)
    assert codes == [0, 0], log[-1500:]
    number = len(weights) - 1
    assert f'Loaded {number} of the {number + 1} weights of FeatureDistiller' in log
    assert f"1 missing ('{norm}'); 1 unexpected ('elsewhere')" in log


@pytest.mark.parametrize('resumed', [False, True])
def test_a_checkpoint_that_fits_nothing_is_refused(
    scenes: Path, tmp_path: Path, resumed: bool
) -> None:
    torch.save(dict(state_dict={'other.weight': torch.ones(2)}), tmp_path / 'other.pth')
    flags = ['--resume', tmp_path / 'other.pth']
    options = ['--cfg-options', f'load_from={tmp_path / "other.pth"}']
    codes, logs = train(scenes, tmp_path, *(flags if resumed else options))
    assert codes == [2, 2]
    for log in logs:
        assert 'fits no weight of the model' in log.rstrip().split('\n')[-1]


def test_the_data_are_checked(scenes: Path, tmp_path: Path) -> None:
    codes, logs = train(
        scenes,
        tmp_path,
        '--cfg-options',
        'train_dataloader.dataset.pipeline.2.scale=(60, 60)',
    )
    assert codes == [2, 2], logs[0][-1500:]
    assert 'gives the model images of 60x60 pixels' in logs[0].rstrip().split('\n')[-1]


def test_a_full_disk_leaves_the_last_checkpoint(scenes: Path, tmp_path: Path) -> None:
    """Both ranks leave, although only one of them writes."""
    work_dir = tmp_path / 'w'
    work_dir.mkdir()
    (work_dir / 'epoch_9.pth.part').write_bytes(b'of a run that was killed')
    codes, logs = train(scenes, tmp_path, prepare=FullDisk(writes=1))
    assert codes == [2, 2], logs[0][-1500:]
    for log in logs:
        assert "epoch_2.pth' could not be written: File too large" in log.rstrip().split('\n')[-1]
    assert sorted(file.name for file in work_dir.glob('epoch*')) == ['epoch_1.pth']
    CheckpointLoader.load_checkpoint(str(work_dir / 'epoch_1.pth'), 'cpu')
