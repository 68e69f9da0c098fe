"""What a detector's steps take."""

from pathlib import Path

import pytest

from rs4d.analysis.benchmark.detector_memory import detector_memory
from rs4d.analysis.benchmark.detectors import Workload

ROOT = Path(__file__).parents[3]
GIB = 1024


@pytest.mark.parametrize('head', ['prompt', 'query'])
def test_masks_from_sams_decoder_train_in_six_gib(head: str) -> None:
    """Base, 512x512, one image with 20 objects, 20 masks decoded; 2.9 GiB when this was written."""
    config = ROOT / f'configs/rs4d/rs4d-base_{head}_ssdd.py'
    found = detector_memory(str(config), Workload('train', side=512, instances=20), steps=1)
    assert found is not None
    assert found.masks == 20
    assert found.libraries + 1 * GIB < found.peak < 6 * GIB
