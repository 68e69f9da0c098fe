"""``rs4d predict``: exit codes, and what is refused is one sentence."""

import cv2
import geopandas
import numpy as np
import pytest
from inference.conftest import checkpoint  # noqa: F401 - a fixture
from inference.oracle import write_scene

from rs4d.cli import main, parse


@pytest.fixture
def scene(tmp_path):
    values = np.random.default_rng(0).integers(1, 4000, (90, 110)).astype(np.uint16)
    return write_scene(tmp_path / 'scene.tif', values)


def test_from_a_raster_to_a_layer(tmp_path, scene, checkpoint, capsys):  # noqa: F811
    cv2.imwrite(str(tmp_path / 'picture.png'), np.full((50, 60, 3), 90, np.uint8))
    (tmp_path / 'none.tif').write_bytes(b'')
    out = tmp_path / 'out'
    words = ('predict', '-', checkpoint, scene, '--score-thr', 0.2, '--device', 'cpu', '--out', out)
    assert main(*words) == 0
    layer = geopandas.read_file(out / 'predictions.gpkg', layer='predictions')
    said = capsys.readouterr()
    assert f'{len(layer)} objects in 1 inputs' in said.out
    assert len(layer) > 0
    assert set(layer['version']) == {'0.1.0'}
    assert main(*words) == 2
    assert '--overwrite' in capsys.readouterr().err
    words = (*words[:3], tmp_path, *words[4:], '--overwrite', '--format', 'coco', 'overlay')
    assert main(*words) == 1
    said = capsys.readouterr()
    assert "none.tif' is empty (0 bytes)" in said.err
    assert 'in 2 inputs; 1 could not be read' in said.out
    assert {file.name for file in (out / 'overlays').iterdir()} == {'scene.png', 'picture.png'}


def test_refused(tmp_path, scene, checkpoint, capsys):  # noqa: F811
    folder = tmp_path / 'empty'
    folder.mkdir()
    closed = tmp_path / 'file'
    closed.touch()
    cv2.imwrite(str(tmp_path / 'picture.png'), np.zeros((50, 60, 3), np.uint8))
    for words, sentence in (
        ((folder,), 'has no image'),
        ((tmp_path / 'absent.tif',), 'is not there'),
        ((scene, '--overlap', 64), 'below the size'),
        ((scene, '--simplify', -1), 'at least 0'),
        ((scene, '--out', closed / 'x'), 'Choose another one by --out'),
        ((tmp_path / 'picture.png', '--format', 'geojson'), 'no longitude'),
        ((scene, '--rank', 2, '--world-size', 2), 'ranks are counted'),
    ):
        assert main('predict', '-', checkpoint, '--out', tmp_path / 'out', *words) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert 'Traceback' not in error


def test_a_published_model_needs_no_config(tmp_path, scene, checkpoint, capsys):  # noqa: F811
    model = tmp_path / 'houses.safetensors'
    assert main('push', checkpoint, model) == 0
    options = ('--score-thr', 0.2, '--device', 'cpu', '--format', 'coco', '--whole')
    assert main('predict', model, scene, *options, '--out', tmp_path / 'a') == 0
    assert main('predict', '-', checkpoint, scene, *options, '--out', tmp_path / 'b') == 0
    assert capsys.readouterr().out.count('objects in 1 inputs') == 2
    first, whole = ((tmp_path / x / 'predictions.json').read_text() for x in 'ab')
    assert first == whole


def test_where_the_config_is_left_out():
    for words, config, found in (
        ('m.safetensors s.tif t.tif --out o', '-', ['s.tif', 't.tif']),
        ('--out o --amp m.safetensors s.tif', '-', ['s.tif']),
        ('--cfg-options a.b=1 --out o m.safetensors s.tif --whole', '-', ['s.tif']),
        ('c.py m.safetensors s.tif --out o', 'c.py', ['s.tif']),
        ('- m.safetensors s.tif --out o', '-', ['s.tif']),
    ):
        args = parse(['predict', *words.split()])
        assert (args.config, args.checkpoint, args.inputs) == (config, 'm.safetensors', found)
