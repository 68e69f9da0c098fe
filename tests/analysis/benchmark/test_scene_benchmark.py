"""Scenes by `rs4d benchmark scenes`: what a row of the table says."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from rs4d.analysis.benchmark.scenes import SceneRecord, _table
from rs4d.cli import main
from rs4d.config import load_config

TINY = Path(__file__).parents[2] / 'tools/tiny_config.py'


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(load_config(TINY).model)
    file = tmp_path / 'tiny.pth'
    meta = dict(dataset_meta=dict(classes=('ship', 'building')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), file)
    return file


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a scene of noise with three rows and two columns of windows."""

    def call(name: str, valid: bool = True) -> Path:
        values = np.random.default_rng(0).integers(1, 60000, (3, 160, 112), np.uint16)
        settings = dict(driver='GTiff', height=160, width=112, count=3, dtype='uint16', nodata=0)
        with rasterio.open(tmp_path / name, 'w', **settings) as file:
            file.write(values if valid else 0 * values)
        return tmp_path / name

    return call


def test_a_row_for_each_scene(
    checkpoint: Path, write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write('one.tif')
    words = ['scenes', TINY, checkpoint, scene, '--size', '64', '--rounds', '2', '--warmup', '0']
    words += ['--tiles', '3', '--score-thr', '0.99', '--out', tmp_path / 'out']
    assert main('benchmark', *words) == 0
    assert (tmp_path / 'out' / 'scenes.md').read_text().strip() in capsys.readouterr().out
    (record,) = json.loads((tmp_path / 'out' / 'scenes.json').read_text())['records']
    # Two whole rows of windows, as one has fewer than three.
    assert (record['windows'], record['tiles']) == (6, 4)
    assert len(record['seconds']) == len(record['model_seconds']) == 2
    assert min(*record['seconds'], *record['model_seconds']) > 0
    # The process of rs4d predict: with PyTorch and MMDetection it is never below.
    assert 200 < record['peak_mib'] < 4000
    assert record['whole_seconds'] > 1
    assert record['objects'] == '0'


def test_a_failing_prediction_says_why(
    checkpoint: Path, write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [TINY, checkpoint, write('none.tif', valid=False), '--size', '64', '--rounds', '1']
    assert main('benchmark', 'scenes', *words, '--out', tmp_path / 'out') == 2
    assert 'has no data' in capsys.readouterr().err


def test_the_share_is_that_of_the_model_in_each_round() -> None:
    record = SceneRecord('a', 512, 768, 6, 4, [2.0, 4.0, 8.0], [1.0, 3.0, 6.0], 90.0, 1536.4, '17')
    row = _table([record])[-1]
    assert row == '| a | 512 x 768 | 6 | 1 (0.75-1.5) | 0.75 (0.625-0.75) | 1.5 | 1536 | 17 |'
