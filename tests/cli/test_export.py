"""``rs4d export``: files that are checked, and what is refused is one sentence."""

import json
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch
from export.conftest import light  # noqa: F401 - a fixture
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from rs4d.cli import main
from rs4d.config import load_config
from rs4d.export.checking import MapAgreement, compare_maps
from rs4d.export.parts import build_part
from rs4d.export.program import load_program


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
        (('--to', 'pt2', '--size', 0), 'in pixels'),
        (('--to', 'pt2', '--image', 'absent.png', '--out', 'x.pt2'), 'does not exist'),
        (('--to', 'pt2', '--image', 'words.png', '--out', 'x.pt2'), 'cannot be decoded'),
        (('--to', 'pt2', '--out', 'x.onnx'), 'in .pt2'),
        (('--to', 'onnx', '--out', 'x.pt2'), 'in .onnx'),
        (('--to', 'pt2', '--out', 'there.pt2'), '--overwrite'),
        (('--to', 'onnx', '--out', 'there.onnx'), "'there.onnx.data' exists"),
        (('--to', 'onnx', '--custom-op', '--onnxruntime-include', '/absent'), 'onnxruntime_c_api'),
    ],
)
def test_refused(light, tmp_path, monkeypatch, capsys, others, sentence) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    for name in ('there.pt2', 'there.onnx.data', 'words.png'):
        Path(name).write_text('mine')
    before = sorted(tmp_path.iterdir())
    assert main(*words(light, *others)) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    assert Path('there.pt2').read_text() == 'mine'


def test_a_published_model_needs_no_config(light, tmp_path: Path, capsys) -> None:  # noqa: F811
    model = tmp_path / 'm.safetensors'
    assert main('push', light.checkpoint, model) == 0
    out = tmp_path / 'm_model.pt2'
    assert main('export', model, '--to', 'pt2', '--part', 'model') == 0
    assert 'detections are the same' in capsys.readouterr().out
    about = said(out)
    assert about['classes'] == ['house', 'pool', 'ship']
    assert (about['size'], about['order']) == ([64, 64], 'red, green, blue')
    assert about['subtracted_inside'] == pytest.approx([123.675, 116.28, 103.53])
    assert (about['score_threshold'], about['mask_threshold']) == (0.01, 0.5)
    assert str(tmp_path) not in str(about)


def test_a_published_encoder(light, tmp_path: Path, capsys) -> None:  # noqa: F811
    encoder = tmp_path / 'e.safetensors'
    assert main('push', light.checkpoint, encoder, '--part', 'encoder') == 0
    stored = light._replace(checkpoint=encoder)
    assert main(*words(stored, '--to', 'pt2')) == 0
    exported = load_program(next(tmp_path.glob('*.pt2')))
    part = build_part(light.model, 'encoder')
    assert compare_maps(part, exported, part.example(64, 64)).error < 1e-5
    assert main(*words(stored, '--to', 'pt2', '--part', 'model')) == 2
    assert 'has an encoder alone' in capsys.readouterr().err


def test_nothing_found_is_not_checked(light, tmp_path: Path, capsys) -> None:  # noqa: F811
    out = tmp_path / 'x.pt2'
    command = words(light, '--to', 'pt2', '--part', 'model', '--out', out)
    assert main(*command, 'model.test_cfg.score_thr=0.999') == 1
    assert 'written but not checked' in capsys.readouterr().out
    assert out.is_file()


def test_four_bands_of_sixteen_bits(tmp_path: Path, capsys) -> None:
    rasterio = pytest.importorskip('rasterio')
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = 'rs4d::rs4d/rs4d-tiny_light_rgbn.py'\n"
        "metainfo = dict(classes=('house',))\nimage_size = 64\n"
        'model = dict(backbone=dict(arch=dict(num_layers=2), out_indices=1))\n'
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(load_config(config, {}).model)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    scene = tmp_path / 'scene.tif'
    values = np.random.default_rng(0).integers(0, 6000, (4, 32, 64), np.uint16)
    with rasterio.open(
        scene, 'w', driver='GTiff', count=4, height=32, width=64, dtype='uint16'
    ) as file:
        file.write(values)
    seen = []
    check = 'rs4d.export.checking.compare_maps'
    with patch(check, side_effect=lambda part, run, inputs: seen.append(inputs) or MapAgreement(0)):
        assert main('export', config, tmp_path / 'x.pth', '--to', 'pt2', '--image', scene) == 0
    image = seen[1][0]
    assert image.shape == (1, 4, 64, 64)
    high = np.array([3000, 3000, 3000, 6000])[:, None, None]
    expected = (values / high * 255).clip(0, 255)
    np.testing.assert_allclose(image[0, :, :32], expected, atol=1e-3)
    assert not image[0, :, 32:].any()
    about = said(tmp_path / 'mine_encoder.pt2')
    assert about['loading']['bands'] == [1, 2, 3, 4]
    assert about['loading']['stretch'] == dict(type='linear', low=0, high=[3000, 3000, 3000, 6000])
    picture = tmp_path / 'picture.png'
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    command = ('export', config, tmp_path / 'x.pth', '--to', 'pt2', '--image', picture)
    assert main(*command, '--overwrite') == 2
    assert '3' in capsys.readouterr().err


def said(path: Path) -> dict:
    texts = {'rs4d': ''}
    torch.export.load(path, extra_files=texts)
    return json.loads(texts['rs4d'])
