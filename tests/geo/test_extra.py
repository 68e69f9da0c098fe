import sys

import pytest

from rs4d.geo.extra import MissingExtraError, geo_library


def test_a_missing_library_is_one_sentence_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    with pytest.raises(MissingExtraError) as caught:
        geo_library('rasterio', 'Reading a raster')
    assert str(caught.value) == (
        "Reading a raster needs rasterio, which is not installed: pip install '.[geo]' in the "
        'checkout of rs4d.'
    )


def test_an_installed_library_is_given():
    assert geo_library('shapely.geometry', 'Joining masks').box(0, 0, 1, 1).area == 1
