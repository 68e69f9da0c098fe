"""Reading by windows, against rasterio's own reading of the whole, and files that are broken."""

import multiprocessing
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from rs4d.geo import raster as raster_module
from rs4d.geo.raster import Raster, interleaved
from rs4d.geo.raster_file import RasterError
from rs4d.geo.window import Window


def _written(path, values, mask=None, **profile):
    count, height, width = values.shape
    settings = dict(driver='GTiff', count=count, height=height, width=width, dtype=values.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, 'w', **settings | profile) as file,
        ):
            file.write(values)
            if mask is not None:
                file.write_mask(mask)
    return path


def _noise(bands=3, height=40, width=50, dtype=np.uint16):
    values = np.random.default_rng(0).integers(1, 200, (bands, height, width))
    return values.astype(dtype)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'int32', 'float32', 'float64'])
def test_a_window_is_a_part_of_the_whole(tmp_path, dtype):
    values = _noise(dtype=dtype)
    with Raster.open(_written(tmp_path / 'a.tif', values)) as raster:
        assert (raster.height, raster.width, raster.count) == (40, 50, 3)
        assert raster.dtype == dtype
        assert raster.bands == (1, 2, 3)
        found, valid = raster.read(Window(5, 7, 20, 30), bands=(3, 1))
        assert raster.georeference is None
    assert found.dtype == dtype
    assert np.array_equal(found, values[[2, 0], 5:25, 7:37].transpose(1, 2, 0))
    assert valid.shape == (20, 30)
    assert valid.all()


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # of a plain file
@pytest.mark.filterwarnings('ignore::PendingDeprecationWarning')  # rasterio's own
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32', 'complex64'])
@pytest.mark.parametrize('bands', [1, 3, 13])
def test_bands_become_pixels(dtype, bands):
    values = np.random.default_rng(0).integers(0, 200, (bands, 5, 7)).astype(dtype)
    pixels = interleaved(values)
    assert pixels.flags.c_contiguous
    assert pixels.dtype == values.dtype
    assert (pixels == np.moveaxis(values, 0, -1)).all()


def test_beyond_the_edge_nothing_is_valid(tmp_path):
    values = _noise(1)
    with Raster.open(_written(tmp_path / 'a.tif', values)) as raster:
        found, valid = raster.read(Window(-3, 40, 50, 20))
        nothing, nowhere = raster.read(Window(100, -300, 4, 5))
    with rasterio.open(tmp_path / 'a.tif') as file:
        part = rasterio.windows.Window(40, -3, 20, 50)
        expected = file.read(window=part, boundless=True, fill_value=0)
    assert np.array_equal(found[..., 0], expected[0])
    assert np.array_equal(valid, expected[0] > 0)
    assert nothing.shape == (4, 5, 1)
    assert not nothing.any()
    assert not nowhere.any()


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # of a plain file
def test_a_pixel_without_data_in_all_bands_is_not_valid(tmp_path):
    values = _noise(2, dtype=np.int16)
    values[:, :4] = -9999
    values[0, 10] = -9999
    with Raster.open(_written(tmp_path / 'a.tif', values, nodata=-9999)) as raster:
        assert raster.nodata == -9999
        _, valid = raster.read(Window(0, 0, 40, 50))
        _, first = raster.read(Window(0, 0, 40, 50), bands=[1])
    with rasterio.open(tmp_path / 'a.tif') as file:
        assert np.array_equal(valid, file.dataset_mask() > 0)
    assert valid[10].all()
    assert not first[10].any()


@pytest.mark.parametrize('nodata', [None, float('nan'), -3.4028234663852886e38])
def test_what_is_no_number_is_not_valid(tmp_path, nodata):
    values = _noise(2, dtype=np.float32)
    values[0, 3] = np.nan
    values[1, 4] = np.inf
    values[:, 5] = np.nan if nodata is None else nodata
    with Raster.open(_written(tmp_path / 'a.tif', values, nodata=nodata)) as raster:
        _, valid = raster.read(Window(0, 0, 40, 50))
    assert np.flatnonzero(~valid.all(1)).tolist() == [3, 4, 5]


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # of a plain file
def test_masks_and_transparency_say_what_is_valid(tmp_path):
    mask = np.full((40, 50), 255, np.uint8)
    mask[:, :9] = 0
    values = _noise(4, dtype=np.uint8)
    with Raster.open(_written(tmp_path / 'a.tif', values, mask, photometric='MINISBLACK')) as file:
        assert np.array_equal(file.read(Window(0, 0, 40, 50))[1], mask > 0)
        assert file.bands == (1, 2, 3, 4)
    values[3] = mask
    path = _written(tmp_path / 'b.tif', values, photometric='RGB', alpha='YES')
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    with Raster.open(path) as raster:
        assert raster.bands == (1, 2, 3)
        found, valid = raster.read(Window(0, 0, 40, 50))
        assert found.shape[2] == 3
        assert np.array_equal(valid, mask > 0)
        # A fourth band that is only called a transparency.
        found, valid = raster.read(Window(0, 0, 40, 50), bands=(1, 2, 3, 4))
        assert np.array_equal(found[..., 3], mask)
        assert valid.all()


@pytest.mark.parametrize('dtype', ['complex64', 'complex128', 'complex_int16'])
def test_complex_values_are_amplitudes(tmp_path, dtype):
    real, imaginary = _noise(2, dtype=np.float32)
    values = (real + 1j * imaginary)[None].astype('complex64')
    values[0, 2] = 0
    values[0, 3] = 40j
    with Raster.open(_written(tmp_path / 'a.tif', values, nodata=0, dtype=dtype)) as raster:
        assert raster.dtype == np.float32
        found, valid = raster.read(Window(0, 0, 40, 50))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], np.abs(values[0]), rtol=1e-6)
    assert np.flatnonzero(~valid.all(1)).tolist() == [2]


def test_the_whole_at_less_pixels(tmp_path):
    values = _noise(2, 60, 90)
    values[:, :30] = 0
    with Raster.open(_written(tmp_path / 'a.tif', values, nodata=0)) as raster:
        found, valid = raster.read_reduced(20 * 30)
        assert found.shape == (20, 30, 2)
        assert not valid[:10].any()
        assert valid[10:].all()
        assert raster.read_reduced(10**6)[0].shape == (60, 90, 2)


@pytest.mark.parametrize('rows', [1, 5, 48])
def test_windows_side_by_side_need_the_file_once(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(raster_module, 'LEAST_CACHE_BYTES', 0)
    values = _noise(height=256, width=1024)
    settings = dict(blockysize=rows, interleave='pixel', compress='deflate')
    path = _written(tmp_path / 'strips.tif', values, **settings)
    windows = [Window(75, col, 48, 64) for col in range(0, 1024, 64)]
    with Raster.open(path) as raster:
        raster.read(windows[0])
        path.write_bytes(b'')
        for window in windows:
            got, _ = raster.read(window)
            part = values[:, 75:123, window.col : window.col + 64]
            assert (got == np.moveaxis(part, 0, -1)).all()
        with pytest.raises(RasterError, match='row 200'):
            raster.read(Window(200, 0, 48, 64))


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # of a plain file
def test_the_cache_is_as_large_as_the_blocks_of_a_row_of_windows(tmp_path):
    def cache_bytes(rows, **settings):
        path = tmp_path / 'scene.tif'
        settings = (
            dict(height=8192, width=16384, count=4, dtype='uint16', sparse_ok=True) | settings
        )
        with rasterio.open(path, 'w', driver='GTiff', **settings):
            pass
        with Raster.open(path) as raster:
            return raster.cache_bytes(rows)

    row = 16384 * 4 * 2
    assert cache_bytes(512) == 512 * row * 5 // 4
    assert cache_bytes(256) == 64 * 2**20
    # Two rows of tiles.
    tiles = dict(tiled=True, blockxsize=512, blockysize=512)
    assert cache_bytes(256, **tiles) == 1024 * row * 5 // 4
    assert cache_bytes(513, **tiles) == 1024 * row * 5 // 4
    assert cache_bytes(514, **tiles) == 1536 * row * 5 // 4
    assert cache_bytes(2048) == 256 * 2**20


def test_threads_may_read_at_the_same_time(tmp_path):
    values = _noise(1, 256, 256)
    path = _written(tmp_path / 'a.tif', values, compress='deflate', blockysize=16)
    windows = [Window(row, 0, 20, 256) for row in range(0, 230, 5)]
    with Raster.open(path) as raster, ThreadPoolExecutor(4) as pool:
        for window, (found, _) in zip(windows, pool.map(raster.read, windows), strict=True):
            assert np.array_equal(found[..., 0], values[0, window.row : window.row + 20])


def test_real_rasters(data_root):
    with Raster.open(data_root('GEO') / 'atlanta_pan.tif') as raster:
        assert raster.georeference.crs.to_epsg() == 32616
        found, valid = raster.read(Window(0, 0, raster.height, raster.width))
    assert (found.min(), found.max()) == (54, 6615)
    assert valid.all()
    with Raster.open(data_root('GEO') / 'custom_crs.tif') as raster:
        assert (raster.dtype, raster.nodata) == (np.int16, -9999)
        assert raster.read(Window(-1, -1, 4, 4))[0].shape == (4, 4, 3)


def _refused(path, *words):
    with pytest.raises(RasterError) as caught, Raster.open(path) as raster:
        raster.read(Window(0, 0, raster.height, 64))
    said = str(caught.value)
    assert f"'{path}'" in said
    assert '\n' not in said
    for word in words:
        assert word in said
    return said


def test_what_is_no_raster_is_said_in_a_sentence(tmp_path):
    _refused(tmp_path / 'gone.tif', 'is not there')
    (tmp_path / 'empty.tif').write_bytes(b'')
    _refused(tmp_path / 'empty.tif', '0 bytes')
    (tmp_path / 'text.tif').write_text('no raster')
    _refused(tmp_path / 'text.tif', 'is no raster')
    (tmp_path / 'folder').mkdir()
    _refused(tmp_path / 'folder', 'is a folder')


def test_a_wrong_ending_does_no_harm(tmp_path):
    values = _noise(3, dtype=np.uint8)
    Image.fromarray(values.transpose(1, 2, 0)).save(tmp_path / 'a.png')
    (tmp_path / 'a.png').rename(tmp_path / 'a.tif')
    with Raster.open(tmp_path / 'a.tif') as raster:
        assert np.array_equal(raster.read(Window(0, 0, 9, 9))[0][..., 0], values[0, :9, :9])


def test_a_band_that_is_not_there(tmp_path):
    with Raster.open(_written(tmp_path / 'a.tif', _noise())) as raster:
        for bands in ((1, 4), (0,), ()):
            with pytest.raises(RasterError, match='has 3 bands'):
                raster.read(Window(0, 0, 4, 4), bands)


@pytest.mark.parametrize('share', [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('compress', ['none', 'deflate'])
def test_files_that_are_cut_off(tmp_path, share, compress):
    path = _written(tmp_path / 'a.tif', _noise(3, 300, 200), compress=compress)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    _refused(path)


def test_jpeg_that_is_cut_off(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / 'a.jpg')
    data = (tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'a.jpg').write_bytes(data[: len(data) // 2])
    _refused(tmp_path / 'a.jpg', 'truncated or damaged')


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # of a plain file
def test_a_block_that_is_damaged_stops_those_alone_who_read_it(tmp_path):
    path = _written(tmp_path / 'a.tif', _noise(1, 300, 200), compress='deflate', blockysize=20)
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item('BLOCK_OFFSET_0_7', 'TIFF', bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + 60] = b'\xff' * 60
    path.write_bytes(data)
    with Raster.open(path) as raster:
        raster.read(Window(0, 0, 140, 200))
        with pytest.raises(RasterError, match='row 130, column 2: it is truncated or damaged'):
            raster.read(Window(130, 2, 20, 20))
        raster.read(Window(160, 0, 140, 200))


def _resized(path, side, keep=None):
    """Overwrite width and height in the header of a TIFF."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from('<I', data, 4)
    (count,) = struct.unpack_from('<H', data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, _ = struct.unpack_from('<HH', data, entry)
        if tag in (256, 257, *(() if keep else (278,))):
            struct.pack_into('<HHII', data, entry, tag, 4, 1, side)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize('compress', ['none', 'deflate'])
@pytest.mark.parametrize('keep', [True, False])
def test_a_header_that_promises_too_much(tmp_path, compress, keep):
    path = _written(tmp_path / 'a.tif', _noise(1, 30, 30), compress=compress)
    _refused(_resized(path, 200_000, keep))


def test_a_sparse_file_is_fine(tmp_path):
    settings = dict(width=3000, height=3000, count=1, dtype='uint8', tiled=True, sparse_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / 'a.tif', 'w', driver='GTiff', **settings) as file:
            file.write(np.full((1, 256, 256), 7, np.uint8), window=((512, 768), (256, 512)))
    with Raster.open(tmp_path / 'a.tif') as raster:
        assert raster.read(Window(512, 256, 256, 256))[0].min() == 7
        assert raster.read(Window(0, 0, 256, 256))[0].max() == 0


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # of a plain file
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_a_palette_is_its_colours(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 4, (1, 40, 50)).astype(dtype)
    path = _written(tmp_path / 'a.tif', values, photometric='PALETTE', nodata=3)
    colours = {0: (0, 0, 0, 255), 1: (200, 30, 40, 255), 2: (5, 6, 250, 255), 3: (9, 9, 9, 255)}
    with rasterio.open(path, 'r+') as file:
        file.write_colormap(1, colours)
    table = np.array([colours[index][:3] for index in range(4)], np.uint8)
    with Raster.open(path) as raster:
        assert (raster.bands, raster.count, raster.dtype) == ((1, 2, 3), 3, np.uint8)
        found, valid = raster.read(Window(-2, 10, 30, 20))
        blue, _ = raster.read(Window(0, 0, 40, 50), bands=(3, 1))
        reduced, _ = raster.read_reduced(20 * 25)
    index = values[0, :28, 10:30]
    assert np.array_equal(valid[2:], index != 3)
    assert not valid[:2].any()
    assert np.array_equal(found[2:][index != 3], table[index[index != 3]])
    assert np.array_equal(blue[values[0] != 3], table[values[0][values[0] != 3]][:, [2, 0]])
    assert reduced.shape == (20, 25, 3)


def test_a_palette_is_what_pillow_makes_of_it(tmp_path):
    picture = Image.fromarray(_noise(3, dtype=np.uint8).transpose(1, 2, 0)).quantize(50)
    picture.save(tmp_path / 'a.png')
    with Raster.open(tmp_path / 'a.png') as raster:
        found, valid = raster.read(Window(0, 0, 40, 50))
    assert np.array_equal(found, np.asarray(picture.convert('RGB')))
    assert valid.all()


def test_a_data_set_in_a_file(tmp_path):
    first, second = _noise(1), _noise(1) + 1
    _written(tmp_path / 'a.tif', first)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        options = dict(driver='GTiff', height=40, width=50, count=1, dtype='uint16')
        with rasterio.open(tmp_path / 'a.tif', 'w', append_subdataset=True, **options) as file:
            file.write(second)
    with Raster.open(f'GTIFF_DIR:2:{tmp_path / "a.tif"}') as raster:
        assert np.array_equal(raster.read(Window(0, 0, 40, 50))[0][..., 0], second[0])
    with pytest.raises(RasterError, match='is no raster'):
        Raster.open(f'GTIFF_DIR:3:{tmp_path / "a.tif"}')


def _serve(folder, port, asked, busy):
    """Send parts of the files of a folder, and note what is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self._answer(body=False)

        def do_GET(self):
            self._answer(body=True)

        def _answer(self, body):
            part = self.headers.get('Range')
            asked.put(part)
            file = folder / self.path.lstrip('/')
            if not file.is_file():
                self.send_error(404)
                return
            if part and busy.value:
                busy.value -= 1
                self.send_error(503)
                return
            data = file.read_bytes()
            begin, end = 0, len(data)
            if part:
                first, last = part.removeprefix('bytes=').split('-')
                begin, end = int(first), min(int(last or end) + 1, len(data))
            self.send_response(206 if part else 200)
            self.send_header('Accept-Ranges', 'bytes')
            self.send_header('Content-Length', str(end - begin))
            if part:
                self.send_header('Content-Range', f'bytes {begin}-{end - 1}/{len(data)}')
            self.end_headers()
            if body:
                self.wfile.write(data[begin:end])

        def log_message(self, *_):
            pass

    with HTTPServer(('127.0.0.1', 0), Handler) as server:
        port.put(server.server_port)
        server.serve_forever()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The folder's address, what is asked of it, and how often it will be busy.

    The server is a process of its own: GDAL keeps Python's threads waiting while it opens a file.
    """
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    fork = multiprocessing.get_context('fork')
    port, asked, busy = fork.SimpleQueue(), fork.SimpleQueue(), fork.Value('i', 0)
    server = fork.Process(target=_serve, args=(tmp_path, port, asked, busy), daemon=True)
    server.start()
    yield f'http://127.0.0.1:{port.get()}', asked, busy
    server.kill()
    server.join()


def test_an_address_is_read_in_parts(tmp_path, served):
    address, asked, busy = served
    values = _noise(1, 1024, 1024)
    _written(tmp_path / 'a.tif', values, tiled=True, blockxsize=128, blockysize=128)
    with Raster.open(f'{address}/a.tif') as raster:
        busy.value = 1
        found, _ = raster.read(Window(600, 700, 50, 60))
        assert busy.value == 0
    assert np.array_equal(found[..., 0], values[0, 600:650, 700:760])
    length = 0
    while not asked.empty():
        part = asked.get()
        if part:
            first, last = part.removeprefix('bytes=').split('-')
            length += int(last) - int(first)
    assert 0 < length < 2**20
    with pytest.raises(RasterError, match='no raster that GDAL can read'):
        Raster.open(f'{address}/gone.tif')
