"""Padding to the encoder's fixed input size."""

from mmdet.datasets.transforms import Pad
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PadKeepingShape(Pad):
    """Pad image and masks at the right and bottom, and remember how much of it is the image.

    MMDetection's ``Pad`` sets ``img_shape`` to the padded size, so that predicted boxes may reach
    into the padding and a loss cannot tell padding from image. Here ``img_shape`` stays the size of
    the image's own area and ``pad_shape`` is the padded size, as after padding in a data
    preprocessor. Positions then mean the same in every batch, which a learned position embedding
    needs. Arguments are those of :class:`mmdet.datasets.transforms.Pad`; ``pad_val`` is in the
    channel order in which the image was loaded (BGR).
    """

    def transform(self, results: dict) -> dict:
        """Pad one sample.

        Args:
            results: A sample with ``img`` (H, W, C) and, if it has any, ``gt_masks``.

        Returns:
            The sample, padded, with ``img_shape`` as before and ``pad_shape`` set.
        """
        valid_shape = results['img'].shape[:2]
        results = super().transform(results)
        results['img_shape'] = valid_shape
        return results
