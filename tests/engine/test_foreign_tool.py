"""The parts work when a config names them, whichever tool trains: here MMDetection's own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.runner import CheckpointLoader

from rs4d.datasets.scenes import ensure_scenes

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = {base!r}
runner_type = 'AtomicRunner'
train_cfg = dict(_delete_=True, type='ResumableTrainLoop', max_epochs={epochs}, val_interval=2)
optim_wrapper = dict(type='SkippingOptimWrapper')
default_hooks = dict(checkpoint=dict(type='ResumableCheckpointHook'))
custom_hooks = [dict(type='NonFiniteLossHook')]
"""


def tool() -> Path:
    spec = importlib.util.find_spec('mmdet')
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / '.mim' / 'tools' / 'train.py'


@pytest.mark.skipif(not tool().is_file(), reason='MMDetection is installed without its tools')
def test_named_parts_under_mmdetections_tool(tmp_path: Path) -> None:
    ensure_scenes(tmp_path / 'scenes', num_train=4, num_val=2, size=64, seed=0)
    base = str(ROOT / 'tests' / 'tools' / 'tiny_config.py')
    environment = os.environ | dict(RS4D_TINY_ROOT=str(tmp_path / 'scenes'), OMP_NUM_THREADS='1')
    for epochs, flags in ((1, []), (2, ['--resume'])):
        (tmp_path / 'config.py').write_text(CONFIG.format(base=base, epochs=epochs))
        result = subprocess.run(
            [sys.executable, tool(), tmp_path / 'config.py', '--work-dir', tmp_path / 'w', *flags],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        path = tmp_path / 'w' / f'epoch_{epochs}.pth'
        content = CheckpointLoader.load_checkpoint(str(path), 'cpu')
        assert content['meta']['training_state']['num_batches'] == 2
        assert content['meta']['iter'] == 2 * epochs
        assert 'skipping' in content['optimizer']
    assert 'resumed epoch: 1, iter: 2' in result.stdout
