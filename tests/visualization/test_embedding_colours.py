"""Three principal components as colours."""

import numpy as np
import pytest

from rs4d.visualization.distillation_picture import EmbeddingColours

RANDOM = np.random.default_rng(0)


def test_the_components_are_the_directions_of_largest_variance() -> None:
    directions, _ = np.linalg.qr(RANDOM.normal(size=(8, 8)))
    vectors = (RANDOM.normal(size=(5000, 8)) * [9, 5, 3, 1, 1, 1, 1, 1]) @ directions.T + 7
    colours = EmbeddingColours(vectors)
    along = np.abs(colours.components @ directions)
    np.testing.assert_allclose(along[:, :3], np.eye(3), atol=0.1)
    np.testing.assert_allclose(colours.components @ colours.components.T, np.eye(3), atol=1e-9)


def test_equal_vectors_have_equal_colours_in_any_map_and_run() -> None:
    features = RANDOM.normal(size=(6, 4, 5))
    colours = EmbeddingColours(features.reshape(6, -1).T)
    again = EmbeddingColours(features.reshape(6, -1)[:, ::-1].T)
    picture = colours.paint(features)
    assert picture.shape == (4, 5, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:, ::-1], colours.paint(features[:, :, ::-1]))
    np.testing.assert_allclose(picture, again.paint(features).astype(int), atol=1)


def test_the_range_is_used_and_outliers_do_not_widen_it() -> None:
    vectors = RANDOM.uniform(-1, 1, size=(1000, 3))
    vectors[0] = 1e3
    colours = EmbeddingColours(vectors, clip=0.02)
    picture = colours.paint(vectors.T[:, None]).astype(int)
    # The component of the outlier is the first.
    assert (picture[0, 1:, 0] > 0).any()
    assert picture.min() == 0
    assert picture.max() == 255
    assert (np.quantile(picture[0], [0.25, 0.75], axis=0)[1] > 150).all()


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_what_does_not_vary_is_half_bright(channels: int) -> None:
    colours = EmbeddingColours(np.full((10, channels), 3.0))
    assert (colours.paint(np.full((channels, 2, 2), 3.0)) == 128).all()


def test_values_that_are_no_numbers_do_no_harm() -> None:
    vectors = RANDOM.normal(size=(50, 4))
    vectors[3] = np.nan
    vectors[4, 1] = np.inf
    colours = EmbeddingColours(vectors)
    assert np.isfinite(colours.components).all()
    features = vectors.T[:, None]
    lost = colours.paint(features)[0, 3]
    np.testing.assert_array_equal(lost, colours.paint(colours.mean[:, None, None])[0, 0])
