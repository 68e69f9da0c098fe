"""A fresh machine repeats a tenth of the first study within a quarter of an hour: make test-study."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rs4d.cli import main


@pytest.mark.skipif('RS4D_TEST_STUDY' not in os.environ, reason='minutes; make test-study runs it')
def test_a_tenth_of_the_first_study(data_root: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ('NWPU', 'SA1B', 'SSDD'):
        data_root(name)
    start = time.monotonic()
    words = ['--scale', '0.1', '--jobs', '2', '--work-dir', tmp_path]
    assert main('study', 'rs4d::studies/corruption.yaml', *words) == 0
    minutes = (time.monotonic() - start) / 60
    results = json.loads((tmp_path / 'results.json').read_text())
    assert len([result for result in results if result['run'].startswith('nwpu')]) == 12
    assert 'Not finished' not in (tmp_path / 'results.md').read_text()
    assert minutes < 15
