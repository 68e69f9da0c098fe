"""A sharded training is the training it would be in whole copies; the teacher stays whole."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader
from training_process import ROOT, run_ranks

from rs4d.datasets.scenes import ensure_scenes

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='needs Gloo and forkserver')

CONFIGS = ROOT / 'tests' / 'tools'


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


def test_sharded_as_whole_and_resumed(tmp_path: Path) -> None:
    scenes = tmp_path / 'scenes'
    ensure_scenes(scenes, num_train=8, num_val=2, size=64, seed=0)
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
