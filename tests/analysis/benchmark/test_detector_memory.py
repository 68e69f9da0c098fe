"""What a detector's steps take."""

from pathlib import Path

from rs4d.analysis.benchmark.detector_memory import detector_memory
from rs4d.analysis.benchmark.detectors import Workload

ROOT = Path(__file__).parents[3]
GIB = 1024


def test_prompt_head_trains_in_six_gib() -> None:
    """Base, 512x512, one image with 20 objects, 20 masks decoded; 2.9 GiB when this was written."""
    config = ROOT / 'configs/rs4d/rs4d-base_prompt_ssdd.py'
    found = detector_memory(str(config), Workload('train', side=512, instances=20), steps=1)
    assert found is not None
    assert found.masks == 20
    assert found.libraries + 1 * GIB < found.peak < 6 * GIB
