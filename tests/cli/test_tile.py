"""``rs4d tile`` and ``rs4d vectorize``: what is refused is one sentence, and nothing is written."""

import json
import warnings

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from rs4d.cli import main
from rs4d.datasets.annotation_checks import check_annotations

PLACE = Affine(0.5, 0, 733601, 0, -0.5, 3725139)
ROOFS = [shapely.box(x, 3725000, x + 12, 3725030) for x in range(733610, 733850, 30)]


def _scene(path, size=600, **changes):
    settings = dict(driver='GTiff', height=size, width=size, count=4, dtype='uint16', nodata=0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        settings |= dict(transform=PLACE, crs='EPSG:32616') | changes
        with rasterio.open(path, 'w', **settings) as file:
            file.write(np.full((4, size, size), 700, np.uint16))
    return path


def _saved(path, geometries=ROOFS, crs=32616, layer=None, **columns):
    geopandas.GeoDataFrame(columns, geometry=list(geometries), crs=crs).to_file(path, layer=layer)
    return path


@pytest.fixture
def scene(tmp_path):
    return _scene(tmp_path / 'scene.tif')


def test_there_and_back(tmp_path, scene, capsys):
    kinds = ['shed', 'house'] * 4
    labels = _saved(tmp_path / 'roofs.gpkg', kind=kinds)
    out = tmp_path / 'out'
    words = ('tile', scene, '--labels', labels, '--class-field', 'kind', '--out', out)
    words += ('--size', 64, '--overlap', 8, '--empty', 0.5, '--block', 128)
    assert main(*words) == 0
    said = capsys.readouterr().out
    assert 'train.json: ' in said
    assert 'classes: house, shed' in said
    for name in ('train.json', 'val.json'):
        content = json.loads((out / name).read_text())
        checked = check_annotations(content, ['house', 'shed'])
        assert not [finding for finding in checked.findings if finding.fatal]
        assert len(list((out / 'images').iterdir())) >= len(content['images']) > 0
    back, files = tmp_path / 'back.gpkg', [out / 'train.json', out / 'val.json']
    assert main('vectorize', *files, '--images', out, '--out', back) == 0
    assert sorted(set(geopandas.read_file(back, layer='back')['class'])) == ['house', 'shed']
    assert main(*words) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert main(*words, '--overwrite') == 0
    assert main('vectorize', *files, '--images', out, '--out', back) == 2


def _layers(folder):
    """Layers that cannot be used, with the options given and what is said of them."""
    point = shapely.Point(733700, 3725000)
    _saved(folder / 'two.gpkg', layer='roofs')
    return {
        'empty': (_saved(folder / 'empty.gpkg', []), (), '0 features, none with a geometry'),
        'null': (_saved(folder / 'null.gpkg', [None, None]), (), '2 features, none with a'),
        'points': (_saved(folder / 'points.gpkg', [point]), (), '1 features, Point'),
        'no field': (
            _saved(folder / 'field.gpkg', kind=['a'] * 8),
            ('--class-field', 'class'),
            'it has kind',
        ),
        'no class': (
            _saved(folder / 'class.gpkg', kind=['a'] * 7 + [None]),
            ('--class-field', 'kind'),
            '1 of 8 features',
        ),
        'elsewhere': (
            _saved(folder / 'far.gpkg', [shapely.box(0, 0, 9, 9)], 3857),
            (),
            'the raster x 733601 to 733901',
        ),
        'several layers': (_saved(folder / 'two.gpkg', layer='roads'), (), '--layer'),
        'other system': (_saved(folder / 'lies.geojson', crs=None), (), '--labels-crs'),
    }


@pytest.mark.filterwarnings("ignore:'crs' was not provided")  # one of the faults
def test_layers_that_cannot_be_used_are_one_sentence(tmp_path, scene, capsys):
    for labels, options, words in _layers(tmp_path).values():
        assert main('tile', scene, '--labels', labels, '--out', tmp_path / 'out', *options) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count('\n') == 2
        assert not (tmp_path / 'out').exists()
    told = ('--labels', tmp_path / 'lies.geojson', '--labels-crs', 'EPSG:32616', '--val', 0)
    assert main('tile', scene, '--out', tmp_path / 'out', *told) == 0


@pytest.mark.parametrize(
    ('content', 'words'), [(None, 'is not there'), (b'', '0 bytes'), (b'no raster', 'no raster')]
)
def test_what_is_no_scene_is_one_sentence(tmp_path, capsys, content, words):
    labels = _saved(tmp_path / 'roofs.gpkg')
    if content is not None:
        (tmp_path / 'a.tif').write_bytes(content)
    out = tmp_path / 'out'
    assert main('tile', tmp_path / 'a.tif', '--labels', labels, '--out', out) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_scenes_without_a_place_are_refused(tmp_path, capsys):
    labels, out = _saved(tmp_path / 'roofs.gpkg'), tmp_path / 'out'
    picture = _scene(tmp_path / 'picture.tif', 100, transform=Affine.identity(), crs=None)
    assert main('tile', picture, '--labels', labels, '--out', out) == 2
    assert 'has no georeference' in capsys.readouterr().err
    silent = _scene(tmp_path / 'silent.tif', crs=None)
    words = ('tile', silent, '--labels', labels, '--out', out, '--val', 0)
    assert main(*words) == 2
    assert '--labels-crs raster' in capsys.readouterr().err
    assert main(*words, '--labels-crs', 'raster') == 0
    assert main('vectorize', out / 'train.json', '--images', out, '--out', tmp_path / 'a.fgb') == 0
    back = geopandas.read_file(tmp_path / 'a.fgb')
    assert len(back) == 8
    assert back.crs is None


def test_results_need_their_annotations(tmp_path, scene, capsys):
    (tmp_path / 'results.json').write_text('[]')
    words = ('vectorize', tmp_path / 'results.json', '--images', tmp_path)
    assert main(*words, '--out', tmp_path / 'a.gpkg') == 2
    assert '--annotations' in capsys.readouterr().err
    (tmp_path / 'odd.json').write_text('{"images": []}')
    assert main(*words, '--out', tmp_path / 'a.gpkg', '--annotations', tmp_path / 'odd.json') == 2
    assert "it has no 'categories'" in capsys.readouterr().err
