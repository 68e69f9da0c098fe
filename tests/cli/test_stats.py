"""rs4d stats: what it prints and writes, and that a model trains on it."""

import json
import warnings

import numpy as np
import pytest
import rasterio
from mmdet.registry import TRANSFORMS
from mmengine.registry import DefaultScope

from rs4d.cli import main
from rs4d.config import load_config

BASE = 'rs4d::rs4d/rs4d-tiny_light_ssdd.py'


def _written(path, values, **profile):
    count, height, width = values.shape
    settings = dict(driver='GTiff', count=count, height=height, width=width, dtype=values.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, 'w', **settings | profile) as file:
            file.write(values)
    return path


def _values(seed=0, bands=4, dtype=np.uint16):
    values = np.random.default_rng(seed).gamma(4, 300, (bands, 64, 80)) + 100
    values[:, :, :20] = 0
    return values.astype(dtype)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    for number in range(2):
        _written(tmp_path / f'images/{number}.tif', _values(number), nodata=0)
    return tmp_path / 'images'


def _loaded(out, *files):
    """The pixels with data of files, normalised as the config says."""
    cfg = load_config(str(out))
    with DefaultScope.overwrite_default_scope('mmdet'):
        load = TRANSFORMS.build(cfg.train_dataloader.dataset.pipeline[0])
    pixels = []
    for file in files:
        found = load(dict(img_path=str(file)))
        pixels.append(found['img'][found.get('gt_seg_map', np.zeros(found['img_shape'])) == 0])
    prepared = cfg.model.data_preprocessor
    return (np.concatenate(pixels) - prepared.mean) / prepared.std, cfg


def test_the_lines_are_a_config_that_normalises(folder, tmp_path, capsys):
    out = tmp_path / 'own.py'
    assert main('stats', folder, '--config', BASE, '--out', out) == 0
    said = capsys.readouterr().out
    assert '2 rasters of type uint16, 75.0% of their pixels with data' in said
    assert out.read_text() in said
    pixels, cfg = _loaded(out, folder / '0.tif', folder / '1.tif')
    np.testing.assert_allclose(pixels.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(pixels.std(0), 1, atol=1e-3)
    assert cfg.model.backbone.in_channels == 4
    stored = np.concatenate([_values(k)[:, :, 20:].reshape(4, -1) for k in range(2)], axis=1)
    expected = np.percentile(stored, (0.5, 99.5), axis=1)
    np.testing.assert_allclose([cfg.stretch.low, cfg.stretch.high], expected, rtol=1e-5)
    first = next(line for line in said.splitlines() if line.startswith('   1')).split()
    np.testing.assert_allclose(float(first[1]), stored[0].mean(), rtol=1e-5)
    np.testing.assert_allclose(float(first[2]), stored[0].std(), rtol=1e-5)
    assert main('stats', folder, '--out', out) == 2
    assert 'exists already' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['db', 'statistics'])
def test_other_stretches(folder, tmp_path, kind):
    words = ('--config', BASE, '--out', tmp_path / 'own.py', '--bands', 3, 1)
    assert main('stats', folder, *words, '--stretch', kind) == 0
    pixels, cfg = _loaded(tmp_path / 'own.py', folder / '0.tif', folder / '1.tif')
    assert cfg.bands == (3, 1)
    assert cfg.stretch.type == kind
    np.testing.assert_allclose(pixels.mean(0), 0, atol=5e-3)
    np.testing.assert_allclose(pixels.std(0), 1, atol=5e-3)


def test_bytes_stay_what_they_are(tmp_path, capsys):
    path = _written(tmp_path / 'a.tif', _values(bands=3).clip(0, 255).astype(np.uint8))
    assert main('stats', path) == 0
    assert "dict(type='linear', low=0, high=255)" in capsys.readouterr().out


def test_amplitudes_of_complex_values_and_a_valid_range(tmp_path):
    values = _values(bands=1, dtype=np.float32) * np.exp(1j * np.arange(80))
    path = _written(tmp_path / 'a.tif', values.astype(np.complex64))
    out = tmp_path / 'own.py'
    words = ('--config', BASE, '--out', out, '--stretch', 'db', '--valid', 1, 1e6)
    assert main('stats', path, *words) == 0
    pixels, cfg = _loaded(out, path)
    assert cfg.stretch.amplitude
    assert len(pixels) == 64 * 60
    np.testing.assert_allclose(pixels.mean(0), 0, atol=5e-3)


def test_the_images_of_an_annotation_file(folder, tmp_path, capsys):
    images = [dict(id=1, file_name='images/1.tif', height=64, width=80)]
    content = dict(images=images, annotations=[], categories=[])
    (tmp_path / 'train.json').write_text(json.dumps(content))
    assert main('stats', tmp_path / 'train.json') == 0
    assert '1 rasters' in capsys.readouterr().out
    (tmp_path / 'train.json').rename(folder.parent / 'moved.json')
    content['images'][0]['file_name'] = '1.tif'
    (tmp_path / 'moved.json').write_text(json.dumps(content))
    assert main('stats', tmp_path / 'moved.json', '--images', folder) == 0


def test_what_cannot_be_read_is_said_and_the_others_are_measured(folder, tmp_path, capsys):
    (folder / 'broken.tif').write_bytes(b'')
    assert main('stats', folder) == 1
    said = capsys.readouterr().out
    assert '2 rasters' in said
    assert 'not measured' in said
    assert 'broken.tif' in said
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/a.tif').write_bytes(b'no raster')
    for source, words in (
        (tmp_path / 'other', 'is no raster'),
        (tmp_path / 'gone.tif', 'is not there'),
        (tmp_path / 'gone.json', 'does not exist'),
    ):
        assert main('stats', source) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count('\n') == 2
    assert main('stats', folder, '--valid', 1e6, 1e7) == 2
    assert 'no pixel' in capsys.readouterr().err
    _written(folder / 'c.tif', _values(bands=3))
    assert main('stats', folder) == 2
    assert 'Name bands that all have' in capsys.readouterr().err
    assert main('stats', folder, '--bands', 2, 1) == 1
