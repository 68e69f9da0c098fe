"""What a detector's steps take, and the tool that says so."""

from pathlib import Path

import pytest

from rs4d.analysis.benchmark.detector_memory import detector_memory
from rs4d.analysis.benchmark.detectors import Workload
from rs4d.cli import main

ROOT = Path(__file__).parents[3]
GIB = 1024


def test_prompt_head_trains_in_six_gib() -> None:
    """Base, 512x512, one image with 20 objects, 20 masks decoded; 2.9 GiB when this was written."""
    config = ROOT / 'configs/rs4d/rs4d-base_prompt_ssdd.py'
    found = detector_memory(str(config), Workload('train', side=512, instances=20))
    assert found is not None
    assert found.masks == 20
    assert found.libraries + 1 * GIB < found.peak < 6 * GIB


def test_tool_prints_the_peak(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / 'configs/demo/rs4d-tiny_bbox_scenes.py')
    small = ('--size', '64', '--instances', '2', '--steps', '1')
    assert main('benchmark', 'memory', config, *small) == 0
    printed = capsys.readouterr().out
    assert '1 x 3 x 64 x 64' in printed
    assert float(printed.split('peak')[1].split()[0]) > 0.2
    assert main('benchmark', 'memory', 'configs/nothing.py') == 2
