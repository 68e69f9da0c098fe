import numpy as np
from mmdet.structures.mask import BitmapMasks

from rs4d.datasets import PadKeepingShape


def test_pads_at_the_right_and_bottom_and_keeps_img_shape():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    masks = BitmapMasks(np.ones((2, 4, 6), np.uint8), 4, 6)
    pad = PadKeepingShape(size=(10, 8), pad_val=dict(img=(1, 2, 3), masks=0))
    results = pad(dict(img=image, img_shape=(4, 6), gt_masks=masks))
    assert results['img'].shape == (8, 10, 3)
    assert np.array_equal(results['img'][:4, :6], image)
    assert (results['img'][4:] == (1, 2, 3)).all()
    assert (results['img'][:, 6:] == (1, 2, 3)).all()
    assert results['img_shape'] == (4, 6)
    assert results['pad_shape'][:2] == (8, 10)
    assert results['gt_masks'].masks.shape == (2, 8, 10)
    assert results['gt_masks'].masks.sum() == 2 * 4 * 6
