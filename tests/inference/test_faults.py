"""Inputs and places that cannot be used: one sentence each, and the others go on."""

import functools
import json
import os
import struct
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
from inference.oracle import Oracle, write_scene
from inference.processes import as_nobody, with_small_files
from inference.test_scene import ORIGIN
from PIL import Image

from rs4d.files import FileWriteError
from rs4d.inference.inputs import InputError, find_inputs
from rs4d.inference.running import FOLDER, Options, predict_inputs


@pytest.fixture
def shared_folder(ids):
    """A folder that everybody may use, in places that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        if as_nobody(functools.partial(os.access, folder, os.W_OK)) is not True:
            pytest.skip('needs a folder for temporary files that other users may enter')
        # All that is imported on the way may lie where others may not read.
        _predict([write_scene(folder / 'warm.tif', ids)], folder / 'warm')
        yield folder


@pytest.fixture
def ids():
    ids = np.ones((200, 200), np.uint16)
    for number, (row, col) in enumerate(np.ndindex(6, 6), 2):
        ids[row * 33 + 4 : row * 33 + 20, col * 33 + 4 : col * 33 + 24] = number
    return ids


def _predict(words, out, formats=('gpkg',)):
    paths = find_inputs([str(word) for word in words])
    options = Options(out, formats, size=64, overlap=24)
    return predict_inputs(Oracle(), paths, options, ORIGIN, {})


def _declares(path, side):
    """Overwrite width, height and rows in a strip in the header of a TIFF."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from('<I', data, 4)
    (count,) = struct.unpack_from('<H', data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from('<H', data, entry)
        if tag in (256, 257, 278):
            struct.pack_into('<HHII', data, entry, tag, 4, 1, side)
    path.write_bytes(data)


def _damaged(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)


def _broken(folder, ids):
    """Files that cannot be read, and what is said of each."""
    for name in ('cut.tif', 'damaged.tif', 'huge.tif'):
        write_scene(folder / name, ids, compress='deflate', blockysize=16)
    (folder / 'cut.tif').write_bytes((folder / 'cut.tif').read_bytes()[:-300])
    _damaged(folder / 'damaged.tif')
    _declares(folder / 'huge.tif', 200_000)
    (folder / 'empty.tif').touch()
    (folder / 'text.tif').write_text('This is no raster.')
    (folder / 'text.png').write_text('Nor is this.')
    (folder / 'vrt.vrt').write_text(
        '<VRTDataset rasterXSize="20000" rasterYSize="20000"><VRTRasterBand dataType="UInt16" '
        'band="1"><SimpleSource><SourceFilename relativeToVRT="1">gone.tif</SourceFilename>'
        '<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    Image.fromarray(np.full((300, 300), 7, np.uint8)).save(folder / 'cut.jpg')
    (folder / 'cut.jpg').write_bytes((folder / 'cut.jpg').read_bytes()[:-400])
    return {
        'cut.tif': 'truncated',
        'cut.jpg': 'truncated',
        'damaged.tif': 'damaged',
        'huge.tif': 'declares 200000 x 200000',
        'empty.tif': 'is empty (0 bytes)',
        'text.tif': 'no raster',
        'text.png': 'no raster',
        'vrt.vrt': 'gone.tif',
    }


def test_what_is_broken_does_not_stop_the_rest(tmp_path, ids):
    folder = tmp_path / 'scenes'
    folder.mkdir()
    said = _broken(folder, ids)
    write_scene(folder / 'whole.tif', ids)
    # What a file is stands in it, not in its name.
    write_scene(folder / 'whole.dat', ids)
    outcome = _predict([folder, tmp_path / 'absent.tif'], tmp_path / 'out', ('gpkg', 'coco'))
    assert (outcome.scenes, outcome.objects) == (2, 72)
    assert len(outcome.failures) == len(said) + 1
    for name, words in (said | {'absent.tif': 'is not there'}).items():
        (sentence,) = [text for text in outcome.failures if f'{name}' in text]
        assert words in sentence
        assert '\n' not in sentence
    layer = geopandas.read_file(tmp_path / 'out' / 'predictions.gpkg', layer='predictions')
    assert layer['scene'].value_counts().to_dict() == {'whole.tif': 36, 'whole.dat': 36}
    assert len(json.loads((tmp_path / 'out' / 'predictions.json').read_text())) == 72


def test_a_folder_of_nothing_readable(tmp_path, ids):
    folder = tmp_path / 'scenes'
    folder.mkdir()
    _broken(folder, ids)
    with pytest.raises(InputError, match='None of the') as caught:
        _predict([folder], tmp_path / 'out')
    assert '\n' not in str(caught.value)
    assert not list((tmp_path / 'out').glob('predictions*'))


def test_what_may_not_be_read_is_counted(shared_folder, ids):
    folder = shared_folder / 'scenes'
    closed = folder / 'closed', folder / 'behind'
    for place in (folder, *closed):
        place.mkdir()
        write_scene(place / 'a.tif', ids)
    write_scene(folder / 'secret.tif', ids).chmod(0)
    for place in closed:
        place.chmod(0)
    words = [folder, folder / 'behind' / 'a.tif']
    outcome = as_nobody(functools.partial(_predict, words, shared_folder / 'out'))
    for place in closed:
        place.chmod(0o700)
    assert (outcome.scenes, outcome.objects) == (1, 36)
    assert len(outcome.failures) == 4
    for name in ('secret.tif', 'closed', 'behind', 'behind/a.tif'):
        assert any(f"{name}'" in text for text in outcome.failures)
    assert not any('\n' in text for text in outcome.failures)


def test_where_nothing_may_be_written(shared_folder, ids):
    scene, out = write_scene(shared_folder / 'scene.tif', ids), shared_folder / 'out'
    out.mkdir()
    out.chmod(0o555)
    for place in (out, out / 'deeper' / 'still'):
        error = as_nobody(functools.partial(_predict, [scene], place))
        assert isinstance(error, FileWriteError), error
        assert f"'{place}'" in str(error)
        assert 'Permission denied' in str(error)
    assert not list(out.iterdir())


@pytest.mark.parametrize('size', [10, 500, 3000, 20_000, 60_000])
def test_a_full_disk_loses_nothing(tmp_path, ids, size):
    scene, out = write_scene(tmp_path / 'scene.tif', ids), tmp_path / 'out'
    formats = ('gpkg', 'fgb', 'parquet', 'geojson', 'coco', 'overlay')
    error = with_small_files(size, functools.partial(_predict, [scene], out, formats))
    assert isinstance(error, FileWriteError), error
    assert '\n' not in str(error)
    written = [file for file in out.glob('predictions*') if file.is_file()]
    assert not [file for file in written if '.part' in file.name]
    for file in written:
        if file.suffix == '.json':
            assert len(json.loads(file.read_text())) == 36
        else:
            read = geopandas.read_parquet if file.suffix == '.parquet' else geopandas.read_file
            assert len(read(file)) == 36
    # With room again it goes on with what was found.
    outcome = _predict([scene], out, formats)
    assert outcome.objects == 36
    assert len(outcome.files) == 6
    assert not (out / FOLDER).exists()
