"""The large generated scene: its truth lies where its pixels are."""

import numpy as np
import pytest
import rasterio.features

from rs4d.datasets.scenes import generate_scene
from rs4d.datasets.scenes.mosaic import write_mosaic
from rs4d.errors import ConfigError
from rs4d.files import ExistingFileError
from rs4d.geo.layers import read_layer


def test_pixels_and_truth(tmp_path):
    scene, truth = write_mosaic(tmp_path, 512)
    layer = read_layer(truth, 'truth', 'class')
    with rasterio.open(scene) as file:
        pixels = np.moveaxis(file.read(), 0, -1)
        drawn = rasterio.features.rasterize(
            [(shape, 1) for shape in layer.geometries], file.shape, transform=file.transform
        )
        assert layer.crs.to_epsg() == file.crs.to_epsg() == 32631
    last = generate_scene(0, 10_003, 'val')
    assert (pixels[256:, 256:] == last.image).all()
    assert (drawn[256:, 256:] == last.masks.any(axis=0)).all()
    with pytest.raises(ExistingFileError):
        write_mosaic(tmp_path, 512)
    with pytest.raises(ConfigError, match='multiple of 256'):
        write_mosaic(tmp_path, 300, overwrite=True)


def test_sixteen_bits_are_the_same_picture(tmp_path):
    write_mosaic(tmp_path / '8', 256)
    write_mosaic(tmp_path / '16', 256, bits=16)
    with (
        rasterio.open(tmp_path / '8/scene.tif') as few,
        rasterio.open(tmp_path / '16/scene.tif') as many,
    ):
        assert many.dtypes == ('uint16',) * 3
        assert (many.read() // 257 == few.read()).all()
        assert (many.read() % 257 == 0).all()
    with pytest.raises(ConfigError, match='12 bits'):
        write_mosaic(tmp_path, 256, overwrite=True, bits=12)
