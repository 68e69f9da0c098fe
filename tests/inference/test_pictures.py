"""Pictures that their files turn, or keep in fewer than eight bits, are found in as they are loaded."""

import io
import json
import struct

import geopandas
import numpy as np
import pytest
import shapely
from inference.oracle import PLACE, Oracle, write_scene
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from rs4d.datasets.image_reading import read_image
from rs4d.datasets.transforms import LoadImage
from rs4d.geo.georeference import Georeference
from rs4d.geo.outlines import mask_to_polygon
from rs4d.geo.raster import Raster
from rs4d.geo.window import Window, grid
from rs4d.inference.outputs import Origin
from rs4d.inference.reading import WindowReader
from rs4d.inference.running import Options, predict_inputs

pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')


def turned_file(path, pixels, orientation):
    """A file whose EXIF turns ``pixels``, which are as stored; returns them upright, by Pillow."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=tags)
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_windows_of_a_turned_picture(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    upright = turned_file(tmp_path / 'p.png', pixels, orientation)
    assert np.array_equal(read_image(tmp_path / 'p.png')[..., ::-1], upright)
    with Raster.open(tmp_path / 'p.png') as raster:
        reader = WindowReader(raster, LoadImage(), orientation)
        for window in (*grid(*upright.shape[:2], 32, 8), Window(5, 3, 20, 30)):
            part = upright[window.row :][: window.height, window.col :][:, : window.width]
            assert np.array_equal(reader.read(window)[..., ::-1], part)


@pytest.mark.parametrize('orientation', [1, 4, 6])
@pytest.mark.parametrize('size', [24, 64])
def test_objects_of_a_turned_picture(tmp_path, orientation, size):
    """COCO's masks are of the picture upright, as it is annotated; layers as QGIS shows the file."""
    stored = np.zeros((60, 90), np.uint8)
    stored[3:14, 40:61], stored[30:50, 5:15], stored[36:44, 8:11] = 11, 22, 0
    upright = turned_file(tmp_path / 'p.png', stored, orientation)
    oracle = Oracle()
    oracle.loader = LoadImage()
    oracle.load = lambda path: read_image(path)
    out = tmp_path / 'out'
    options = Options(out, ('gpkg', 'coco', 'overlay'), size, 21)
    assert predict_inputs(
        oracle, [str(tmp_path / 'p.png')], options, Origin('m', 'c', '1'), {}
    ).objects
    results = json.loads((out / 'predictions.json').read_text())
    found = [coco_mask.decode(result['segmentation']).astype(bool) for result in results]
    assert len(found) == 2
    assert all(any(np.array_equal(mask, upright == value) for mask in found) for value in (11, 22))
    shapes = geopandas.read_file(out / 'predictions.gpkg', layer='predictions').geometry.tolist()
    for value in (11, 22):
        exact = shapely.transform(mask_to_polygon(stored == value), lambda xy: xy * (1, -1))
        assert any(shape.equals(exact) for shape in shapes)
    with Image.open(out / 'overlays' / 'p.png') as overlay:
        assert overlay.size[0] / overlay.size[1] == upright.shape[1] / upright.shape[0]


def test_windows_of_one_bit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2, (40, 70)) > 0
    for name in ('p.png', 'p.tif'):
        Image.fromarray(pixels).save(tmp_path / name)
        with Raster.open(tmp_path / name) as raster:
            window = WindowReader(raster, LoadImage()).read(Window(0, 0, 40, 70))
        assert np.array_equal(window, read_image(tmp_path / name))


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('whole', [False, True])
def test_a_turned_raster_stays_in_its_place(tmp_path, orientation, whole):
    """A TIFF that says where its pixels lie, and that viewers should turn them."""
    stored = np.zeros((60, 90), np.uint8)
    stored[3:14, 40:61], stored[30:50, 5:15], stored[36:44, 8:11] = 11, 22, 0
    path = write_scene(tmp_path / 'p.tif', stored, nodata=None)
    _tag_orientation(path, orientation)
    upright = _upright(stored, orientation)
    assert np.array_equal(read_image(path)[..., 0], upright)
    oracle = Oracle()
    oracle.loader = LoadImage()
    oracle.load = read_image
    out = tmp_path / 'out'
    options = Options(out, ('gpkg', 'coco'), 24, 21, whole=whole)
    assert predict_inputs(oracle, [str(path)], options, Origin('m', 'c', '1'), {}).objects == 2
    results = json.loads((out / 'predictions.json').read_text())
    found = [coco_mask.decode(result['segmentation']).astype(bool) for result in results]
    shapes = geopandas.read_file(out / 'predictions.gpkg').geometry.tolist()
    for value in (11, 22):
        assert any(np.array_equal(mask, upright == value) for mask in found)
        exact = Georeference(PLACE, None).to_map(mask_to_polygon(stored == value))
        assert any(shape.equals(exact) for shape in shapes)


def _tag_orientation(path, orientation):
    """Add the tag to a TIFF whose directory lies at its end, or may be written anew there."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from('<I', data, 4)
    (count,) = struct.unpack_from('<H', data, start)
    entries = [bytes(data[start + 2 + 12 * n : start + 14 + 12 * n]) for n in range(count)]
    entries.append(struct.pack('<HHIHH', 274, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from('<H', entry))
    struct.pack_into('<I', data, 4, len(data))
    data += struct.pack('<H', len(entries)) + b''.join(entries) + bytes(4)
    path.write_bytes(data)


def _upright(pixels, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'png', exif=tags)
    return np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
