"""Images are loaded as they were when they were annotated, whatever their depth, bands and turn."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rs4d.datasets import ImageDecodeError
from rs4d.datasets.image_reading import decode, image_size, read_header, read_image

COLOURS = np.random.default_rng(0).integers(1, 255, (6, 9, 3), np.uint8)
"""RGB."""


def encoded(ending: str, image: np.ndarray) -> bytes:
    return cv2.imencode(ending, image)[1].tobytes()


def saved(image: np.ndarray, form: str, orientation: int = 1, **options: bool) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(image).save(file, form, exif=exif, **options)
    return file.getvalue()


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value of a short tag."""
    (first,) = struct.unpack('<I', data[4:8])
    (count,) = struct.unpack('<H', data[first : first + 2])
    for place in range(first + 2, first + 2 + 12 * count, 12):
        if struct.unpack('<H', data[place : place + 2]) == (tag,):
            return data[: place + 8] + struct.pack('<H', value) + data[place + 10 :]
    raise AssertionError(tag)


@pytest.mark.parametrize('ending', ['.png', '.tif'])
@pytest.mark.parametrize('used', [8, 11, 12, 16])
def test_bits_in_use_become_eight(ending: str, used: int) -> None:
    values = COLOURS.astype(np.uint16) << (used - 8)
    values[0, 0] = (1 << used) - 1
    expected = (values >> (used - 8)).astype(np.uint8)
    np.testing.assert_array_equal(decode(encoded(ending, values), 'a'), expected)
    grey = decode(encoded(ending, values[..., 0]), 'a')
    np.testing.assert_array_equal(grey, expected[..., :1].repeat(3, 2))


def test_a_few_bright_values_darken_no_image() -> None:
    values = np.full((100, 100), 1500, np.uint16)
    values[0, :5] = 60000
    image = decode(encoded('.png', values), 'a')
    assert (image[50, 50] == 1500 >> 3).all()
    assert (image[0, 0] == 255).all()
    assert (decode(encoded('.png', values), 'a', bits=12)[50, 50] == 1500 >> 4).all()
    assert not decode(encoded('.png', 0 * values), 'a').any()


@pytest.mark.parametrize('form', ['PNG', 'TIFF'])
def test_a_fourth_band_is_left_out(form: str) -> None:
    infrared = np.full((6, 9, 1), 50, np.uint8)
    data = saved(np.concatenate([COLOURS, infrared], -1), form)
    np.testing.assert_array_equal(decode(data, 'a')[..., ::-1], COLOURS)
    header = read_header(io.BytesIO(data))
    assert header is not None
    assert (header.bands, header.bits, header.fault) == (4, 8, '')


@pytest.mark.parametrize('form', ['JPEG', 'TIFF'])
def test_inks_become_colours(form: str) -> None:
    file = io.BytesIO()
    Image.new('RGB', (9, 6), (200, 100, 50)).convert('CMYK').save(file, form)
    header = read_header(io.BytesIO(file.getvalue()))
    assert header is not None
    assert header.bands == 3
    assert np.abs(decode(file.getvalue(), 'a')[3, 4].astype(int) - (50, 100, 200)).max() < 10


def test_sixteen_bits_in_four_bands() -> None:
    values = np.dstack([COLOURS, COLOURS[..., 0]]).astype(np.uint16) << 4
    values[0, 0] = 4095
    for ending in ('.png', '.tif'):
        image = decode(encoded(ending, values), 'a')
        np.testing.assert_array_equal(image[1:], COLOURS[1:])


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_as_viewers_show_it(form: str, orientation: int) -> None:
    smooth = cv2.resize(COLOURS, (90, 60), interpolation=cv2.INTER_LINEAR)
    data = saved(smooth, form, orientation)
    with Image.open(io.BytesIO(data)) as image:
        from PIL import ImageOps

        upright = np.asarray(ImageOps.exif_transpose(image))
    header = read_header(io.BytesIO(data))
    loaded = decode(data, 'a')[..., ::-1]
    assert header is not None
    assert header.size() == loaded.shape[1::-1] == upright.shape[1::-1]
    assert np.abs(loaded.astype(int) - upright).max() <= 3


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF'])
def test_the_size_noted_tells_if_it_is_turned(form: str) -> None:
    data = saved(cv2.resize(COLOURS, (90, 60)), form, 6)
    assert decode(data, 'a').shape == (90, 60, 3)
    assert decode(data, 'a', noted=(60, 90)).shape == (90, 60, 3)
    assert decode(data, 'a', noted=(90, 60)).shape == (60, 90, 3)
    assert decode(data, 'a', noted=(1, 1)).shape == (90, 60, 3)
    if form == 'JPEG':
        assert decode(data, 'a', scale=(45, 45)).shape == (45, 30, 3)
    square = saved(cv2.resize(COLOURS, (60, 60)), form, 3)
    upright = decode(square, 'a', noted=(60, 60))
    np.testing.assert_array_equal(upright, decode(square, 'a'))


@pytest.mark.parametrize('big', [False, True])
def test_a_turned_tiff_of_any_kind_is_loaded_as_it_was_annotated(big: bool) -> None:
    infrared = np.full((6, 9, 1), 50, np.uint8)
    deep = COLOURS[..., 0].astype(np.uint16) << 8
    for image in (COLOURS, COLOURS[..., 0], deep, np.concatenate([COLOURS, infrared], -1)):
        plain = decode(saved(image, 'TIFF', big_tiff=big), 'a')
        for orientation, upright in ((5, plain.swapaxes(0, 1)), (6, np.rot90(plain, -1)),
                                     (8, np.rot90(plain))):  # fmt: skip
            data = saved(image, 'TIFF', orientation, big_tiff=big)
            header = read_header(io.BytesIO(data))
            assert header is not None
            assert (header.stored, header.size()) == ((9, 6), (6, 9))
            np.testing.assert_array_equal(decode(data, 'a'), upright)
            np.testing.assert_array_equal(decode(data, 'a', noted=(9, 6)), plain)


def test_what_cannot_be_read_right_is_refused() -> None:
    three = encoded('.tif', COLOURS)
    cases = [
        (saved(COLOURS[..., 0].astype(np.float32), 'TIFF'), 'floating-point'),
        (encoded('.tif', COLOURS.astype(np.float32)), 'float32'),
        (with_tag(three, 277, 5), 'it has 5 bands'),
        (with_tag(three, 262, 1), 'shades of grey'),
        (with_tag(encoded('.tif', COLOURS.astype(np.uint16)), 284, 2), 'band by band'),
    ]
    for data, says in cases:
        with pytest.raises(ImageDecodeError, match=says) as info:
            decode(data, 'a.tif')
        assert "'a.tif'" in str(info.value)
        assert 'gdal_translate' in str(info.value)


def test_pixels_are_those_of_opencv(tmp_path: Path, data_root: Callable[[str], Path]) -> None:
    files = [*sorted(data_root('SSDD').rglob('*.jpg'))[:20], *data_root('WHU').rglob('*.tif')]
    for file in files:
        np.testing.assert_array_equal(read_image(file), cv2.imread(str(file)))


def test_real_rasters(data_root: Callable[[str], Path]) -> None:
    root = data_root('GEO')
    image = read_image(root / 'atlanta_pan.tif')
    assert image_size(root / 'atlanta_pan.tif') == (900, 900) == image.shape[:2]
    assert 20 < image.mean() < 120
    signed = read_image(root / 'custom_crs.tif')
    assert signed.shape == (512, 512, 3)
    assert 20 < signed.mean() < 120
    assert (signed[..., 0] != signed[..., 2]).any()
