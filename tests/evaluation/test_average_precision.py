"""Counts for resampled images, both ways; what precision curves are is compared in test_matching."""

import numpy as np
import pytest

from rs4d.evaluation import interval, mean_over_classes
from rs4d.evaluation.average_precision import _CountsAt


@pytest.mark.parametrize('number', [4, 400])
def test_counts_of_resamples(number: int) -> None:
    generator = np.random.default_rng(number)
    images = generator.integers(0, number, 30)
    counts = generator.random(30) < 0.7
    places = np.sort(generator.choice(np.flatnonzero(counts), 9, replace=False))
    weights = generator.integers(0, 4, (7, number))
    found = _CountsAt(images, counts, places, number)
    assert found.cost == (9 if number == 4 else 30)
    expected = [
        [sum(row[images[n]] for n in range(place + 1) if counts[n]) for place in places]
        for row in weights
    ]
    np.testing.assert_array_equal(found.of(weights), expected)


def test_classes_without_instances_do_not_count() -> None:
    values = np.array([[0.2, np.nan], [0.4, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(mean_over_classes(values), [0.3, np.nan])


def test_an_interval_leaves_out_resamples_without_a_figure() -> None:
    found = interval(0.5, np.array([np.nan, *np.linspace(0, 1, 201)]))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.025, 0.975))
    assert np.isnan(interval(np.nan, np.array([np.nan])).low)
