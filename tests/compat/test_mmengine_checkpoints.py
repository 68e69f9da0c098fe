"""The patch of MMEngine's reading is needed for as long as MMEngine unpickles what it is given."""

import importlib.util
from pathlib import Path

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_mmengine_alone_runs_what_a_checkpoint_asks_for(tmp_path: Path) -> None:
    torch.save(dict(state_dict=Malicious(tmp_path / 'was_here')), tmp_path / 'evil.pth')
    spec = importlib.util.spec_from_file_location('untouched', mmengine_checkpoint.__file__)
    assert spec is not None
    assert spec.loader is not None
    untouched = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(untouched)
    untouched.CheckpointLoader.load_checkpoint(str(tmp_path / 'evil.pth'))
    assert (tmp_path / 'was_here').exists()
