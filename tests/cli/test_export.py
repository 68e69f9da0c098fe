"""``rs4d export``: files that are checked, and what is refused is one sentence."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from export.conftest import light  # noqa: F401 - a fixture

from rs4d.cli import main


def words(stored, *others: object) -> tuple[object, ...]:
    options = [
        f'{key}={value}' for key, value in stored.options.items() if not isinstance(value, dict)
    ]
    return ('export', stored.config, stored.checkpoint, *others, '--cfg-options', *options)


def test_exported_and_checked(light, tmp_path: Path, capsys) -> None:  # noqa: F811
    picture = tmp_path / 'picture.png'
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    out = tmp_path / 'x.pt2'
    assert main(*words(light, '--to', 'pt2', '--out', out, '--image', picture)) == 0
    said = capsys.readouterr().out
    assert 'encoder, 64x64' in said
    assert 'PyTorch, a random image: largest relative error' in said
    assert f'PyTorch, {picture}: largest' in said
    assert out.is_file()


@pytest.mark.parametrize(
    ('others', 'sentence'),
    [
        (('--to', 'pt2', '--custom-op'), 'is for --to onnx'),
        (('--to', 'onnx', '--dtype', 'bfloat16'), 'is for encoders and --to pt2'),
        (('--to', 'pt2', '--size', 60), 'multiples of'),
        (('--to', 'pt2', '--image', 'absent.png', '--out', 'x.pt2'), 'is not there'),
        (('--to', 'onnx', '--custom-op', '--onnxruntime-include', '/absent'), 'onnxruntime_c_api'),
    ],
)
def test_refused(light, tmp_path, monkeypatch, capsys, others, sentence) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert main(*words(light, *others)) == 2
    assert sentence in capsys.readouterr().err
