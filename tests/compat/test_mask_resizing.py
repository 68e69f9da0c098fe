"""Bitmap masks are resized by the centres of pixels, as PyTorch defines it and images are."""

import mmcv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.mask import BitmapMasks


def masks(height: int = 70, width: int = 100) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (3, height, width), dtype=np.uint8)


def by_centres(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = F.interpolate(torch.from_numpy(array)[:, None].float(), size, mode='nearest-exact')
    return resized[:, 0].byte().numpy()


@pytest.mark.parametrize('size', [(45, 64), (192, 320), (35, 50), (70, 100)])
def test_pixels_are_those_at_the_centres(size: tuple[int, int]) -> None:
    found = BitmapMasks(masks(), 70, 100).resize(size)
    assert (found.height, found.width) == size
    np.testing.assert_array_equal(found.masks, by_centres(masks(), size))


def test_rescaling_keeps_the_ratio() -> None:
    found = BitmapMasks(masks(), 70, 100).rescale((64, 64))
    assert (found.height, found.width) == (45, 64)
    np.testing.assert_array_equal(found.masks, by_centres(masks(), (45, 64)))
    empty = BitmapMasks(masks()[:0], 70, 100).rescale(0.5)
    assert empty.masks.shape == (0, 35, 50)


def test_an_object_stays_where_it_is() -> None:
    """Its centre, to a tenth of a pixel, as there are enough pixels to average over."""
    y, x = np.mgrid[:300, :500] + 0.5
    disk = ((x - 260) ** 2 + (y - 140) ** 2 < 80**2).astype(np.uint8)
    found = BitmapMasks(disk[None], 300, 500).rescale((320, 192)).masks[0]
    rows, columns = np.nonzero(found)
    assert columns.mean() + 0.5 == pytest.approx(260 * 0.64, abs=0.1)
    assert rows.mean() + 0.5 == pytest.approx(140 * 0.64, abs=0.1)


def test_mmcv_still_takes_the_corners() -> None:
    """When this fails, the patch is no longer needed."""
    assert (
        mmcv.imresize(masks()[0], (64, 45), interpolation='nearest')
        != by_centres(masks(), (45, 64))[0]
    ).any()
