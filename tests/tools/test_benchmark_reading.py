"""The benchmark of reading, small, from end to end."""

import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from rs4d.analysis.benchmark.reading import RATIOS
from rs4d.cli import main


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / 'images'
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for number in range(3):
        cv2.imwrite(str(folder / f'sa_{number}.jpg'), pixels)
    return folder


def test_whole_run_writes_json_and_table(images: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    small = '--image-size 64 --num-images 5 --rounds 2 --num-workers 0 --batch-size 2'
    assert main('benchmark', 'reading', images, *small.split(), '--out', out) == 0
    found = json.loads((out / 'reading.json').read_text())
    assert {len(rates) for rates in found.values()} == {2}
    table = (out / 'reading.md').read_text()
    for ratio, numerator, denominator in RATIOS:
        assert f'| {ratio} |' in table
        assert {numerator, denominator} <= found.keys()


def test_tars_are_refused(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(images / 'sa_000000.tar', 'w') as archive:
        archive.add(images / 'sa_0.jpg', 'sa_9.jpg')
    assert main('benchmark', 'reading', images) == 2
    assert 'extracted JPEGs' in capsys.readouterr().err
