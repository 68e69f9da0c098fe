"""Stretches against their formulas in double precision."""

import numpy as np
import pytest
import rasterio

from rs4d.errors import ConfigError
from rs4d.geo.raster import Raster
from rs4d.geo.stretch import build_stretch
from rs4d.geo.window import Window


def _values(dtype, bands=3):
    values = np.random.default_rng(0).integers(1, 4000, (20, 30, bands))
    return values.astype(dtype)


def _bounded(values):
    return np.clip(values, 0, 255)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'int32', 'float32', 'float64'])
@pytest.mark.parametrize('bands', [1, 4, 13])
def test_linear(dtype, bands):
    values = _values(dtype, bands)
    found = build_stretch(dict(type='linear', low=100, high=3100))(values)
    assert found.dtype == np.float32
    expected = _bounded((values.astype(np.float64) - 100) / 3000 * 255)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    low, high = list(range(bands)), list(range(1000, 1000 + bands))
    found = build_stretch(dict(type='linear', low=low, high=high))(values)
    np.testing.assert_allclose(found, _bounded((values - np.array(low, float)) * 0.255), atol=1e-4)


def test_in_a_config_that_goes_on_from_ours():
    """MMEngine notes its scope in every dict with a type."""
    found = build_stretch(dict(type='linear', low=0, high=2550, _scope_='rs4d'))
    assert found(np.full((1, 1, 1), 100, np.uint16)) == 10


def test_bytes_stay_what_they_are():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(build_stretch(dict(type='linear'))(values), values)


def test_decibels():
    values = _values(np.float32)
    values[0, 0], values[0, 1] = 0, -3
    for amplitude, factor in ((False, 10), (True, 20)):
        settings = dict(type='db', low=0, high=60, amplitude=amplitude)
        found = build_stretch(settings)(values)
        assert not found[0, :2].any()
        expected = _bounded(factor * np.log10(values[1:].astype(np.float64)) / 60 * 255)
        np.testing.assert_allclose(found[1:], expected, atol=1e-3)


def test_statistics():
    values = _values(np.uint16)
    mean, std = [1000, 2000, 3000], [100, 200, 3000]
    found = build_stretch(dict(type='statistics', mean=mean, std=std, width=2))(values)
    share = (values - np.array(mean)) / (2 * np.array(std))
    np.testing.assert_allclose(found, _bounded(127.5 + 127.5 * share), atol=1e-3)


def test_what_is_not_valid_is_filled():
    values = _values(np.float32)
    values[3] = np.nan
    valid = np.isfinite(values).all(-1)
    found = build_stretch(dict(type='linear', high=4000))(values, valid, (1, 2, 3))
    assert (found[3] == (1, 2, 3)).all()
    assert np.isfinite(found).all()
    found = build_stretch(dict(type='percentile'))(values, valid)
    assert not found[3].any()


@pytest.mark.parametrize('max_pixels', [10**6, 4000])
def test_percentiles_are_those_of_the_whole_raster(tmp_path, max_pixels):
    values = np.random.default_rng(0).gamma(2, 300, (2, 200, 150)).astype(np.uint16) + 1
    values[:, 150:] = 0
    settings = dict(driver='GTiff', width=150, height=200, count=2, dtype='uint16', nodata=0)
    with rasterio.open(
        tmp_path / 'a.tif', 'w', **settings, transform=rasterio.Affine.scale(2)
    ) as file:
        file.write(values)
    stretch = build_stretch(dict(type='percentile', low=1, high=99, max_pixels=max_pixels))
    assert stretch.needs_raster
    with Raster.open(tmp_path / 'a.tif') as raster:
        fitted = stretch.for_raster(raster)
        window, valid = raster.read(Window(0, 0, 10, 10))
        swapped = stretch.for_raster(raster, (2, 1))
    expected = np.percentile(values[:, :150].reshape(2, -1), (1, 99), axis=1)
    np.testing.assert_allclose([fitted.low, fitted.high], expected, rtol=0.15)
    assert np.array_equal(swapped.low, fitted.low[::-1])
    if max_pixels == 10**6:
        np.testing.assert_allclose([fitted.low, fitted.high], expected)
        found = fitted(window, valid)
        np.testing.assert_allclose(
            found, _bounded((window - expected[0]) / (expected[1] - expected[0]) * 255), atol=1e-3
        )


def test_a_raster_of_one_value_or_none_is_stretched():
    flat = np.full((4, 4, 2), 7, np.uint16)
    assert np.isfinite(build_stretch(dict(type='percentile'))(flat)).all()
    assert build_stretch(dict(type='percentile'))(flat, np.zeros((4, 4), bool), 9).min() == 9


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(type='gamma'), 'none of linear'),
        (dict(low=1), 'none of linear'),
        (dict(type='linear', low=5, high=5), 'above low'),
        (dict(type='linear', loww=5), 'does not take'),
        (dict(type='statistics', mean=1, std=0), 'above 0'),
        (dict(type='percentile', low=98, high=2), 'does not hold'),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        build_stretch(settings)


def test_limits_for_another_number_of_bands_are_refused():
    with pytest.raises(ConfigError, match='2 limits for 3 bands'):
        build_stretch(dict(type='linear', low=[0, 1], high=[5, 6]))(_values(np.uint8))
