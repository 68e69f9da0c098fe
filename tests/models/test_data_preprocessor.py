"""Normalisation of any number of bands, against MMDetection's for three."""

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample

from rs4d.errors import ConfigError
from rs4d.models.data_preprocessor import BandsDataPreprocessor


def _batch(bands, sizes=((20, 30), (25, 18))):
    generator = torch.Generator().manual_seed(0)
    return dict(
        inputs=[255 * torch.rand(bands, *size, generator=generator) for size in sizes],
        data_samples=[DetDataSample(metainfo=dict(img_shape=size)) for size in sizes],
    )


def test_three_bands_are_as_in_mmdetection():
    settings = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], pad_size_divisor=16)
    theirs = DetDataPreprocessor(**settings, bgr_to_rgb=True)(_batch(3))['inputs']
    ours = BandsDataPreprocessor(**settings, bgr_to_rgb=True)(_batch(3))['inputs']
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize('bands', [1, 2, 4, 13])
def test_each_band_has_its_own_mean(bands):
    mean, std = list(range(bands)), list(range(1, bands + 1))
    found = BandsDataPreprocessor(mean, std, pad_size_divisor=16)(_batch(bands))
    assert found['inputs'].shape == (2, bands, 32, 32)
    expected = _batch(bands)['inputs'][0]
    for band in range(bands):
        torch.testing.assert_close(
            found['inputs'][0, band, :20, :30], (expected[band] - band) / (band + 1)
        )
    assert not found['inputs'][0, :, 20:].any()
    assert found['data_samples'][0].batch_input_shape == (32, 32)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(mean=[1, 2], std=[1]), 'a number for'),
        (dict(mean=[], std=[]), 'a number for'),
        (dict(mean=[1], std=[0]), 'above 0'),
        (dict(mean=[1] * 4, std=[1] * 4, bgr_to_rgb=True), 'turns three bands'),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        BandsDataPreprocessor(**settings)


def test_images_of_another_number_of_bands_are_refused():
    with pytest.raises(ConfigError, match='has 3 bands, and the model is for 4'):
        BandsDataPreprocessor([1] * 4, [1] * 4)(_batch(3))
