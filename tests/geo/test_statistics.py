"""Statistics that come a window at a time, against NumPy's of all values at once."""

import numpy as np
import pytest

from rs4d.geo.statistics import BandStatistics
from rs4d.geo.stretch import build_stretch

PERCENTAGES = [0, 0.5, 2, 50, 98, 99.9, 100]


def _collected(values, valid, **settings):
    found = BandStatistics(values.shape[2], values.dtype, **settings)
    for row in range(0, len(values), 7):
        found.update(values[row : row + 7], valid[row : row + 7])
    return found


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'int32', 'float32'])
def test_against_numpy(dtype):
    generator = np.random.default_rng(0)
    values = generator.gamma(2, 20, (60, 50, 3)).clip(0, 120)
    values[..., 1] += 7
    values = (values - (10 if np.dtype(dtype).kind != 'u' else 0)).astype(dtype)
    valid = generator.random((60, 50)) < 0.7
    found = _collected(values, valid)
    pixels = values[valid].astype(np.float64)
    assert found.count == len(pixels)
    np.testing.assert_allclose(found.mean, pixels.mean(0))
    np.testing.assert_allclose(found.std, pixels.std(0))
    assert np.array_equal(found.low, pixels.min(0))
    assert np.array_equal(found.high, pixels.max(0))
    expected = np.percentile(pixels, PERCENTAGES, axis=0)
    np.testing.assert_allclose(found.percentiles(PERCENTAGES), expected, atol=1e-9)
    stretch = build_stretch(dict(type='linear', low=5, high=[60, 70, 80]))
    mean, std = found.stretched(stretch)
    stretched = stretch(values)[valid]
    np.testing.assert_allclose(mean, stretched.mean(0), rtol=1e-4)
    np.testing.assert_allclose(std, stretched.std(0), rtol=1e-4)


def test_a_sample_is_close_and_the_same_each_time():
    values = np.random.default_rng(0).normal(1e6, 5, (300, 100, 1)).astype(np.float64)
    valid = np.ones((300, 100), bool)
    found, again = (_collected(values, valid, sample_pixels=2000) for _ in range(2))
    assert found._sample.shape == (2000, 1)
    np.testing.assert_allclose(found.std, values.std(), rtol=1e-9)
    median = found.percentiles([50])[0, 0]
    assert abs(median - 1e6) < 0.5
    assert again.percentiles([50])[0, 0] == median
    # From all parts, not from the first or the last alone.
    first = np.isin(found._sample, values[:150]).mean()
    assert 0.4 < first < 0.6


def test_nothing_valid():
    found = _collected(np.zeros((9, 9, 2), np.uint16), np.zeros((9, 9), bool))
    assert found.count == 0
