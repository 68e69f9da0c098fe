"""MMDetection's pictures of predictions, of small images as well."""

from typing import Any

import cv2
import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from torch import Tensor


@VISUALIZERS.register_module()
class LegibleVisualizer(DetLocalVisualizer):
    """MMDetection's visualizer, which enlarges small images before it draws and writes on them.

    Args:
        name: The instance's name, by which MMEngine finds it again.
        min_side: Shortest side of what is drawn in pixels, for the truth and the prediction each;
            smaller images are enlarged by a whole number.
        **kwargs: MMDetection's ``DetLocalVisualizer``.
    """

    def __init__(self, name: str = 'visualizer', min_side: int = 256, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.min_side = min_side

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Draw as MMDetection's; neither the image nor the sample is changed."""
        factor = -(-self.min_side // min(image.shape[:2]))
        if factor > 1:
            height, width = (factor * side for side in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            if data_sample is not None:
                data_sample = data_sample.cpu()
                for key in ('gt_instances', 'pred_instances'):
                    if key in data_sample:
                        setattr(data_sample, key, _enlarge(data_sample.get(key), factor))
        super().add_datasample(name, image, data_sample, *args, **kwargs)


def _enlarge(instances: InstanceData, factor: int) -> InstanceData:
    larger = instances.clone()
    if 'bboxes' in larger:
        larger.bboxes = get_box_tensor(instances.bboxes) * factor
    if 'masks' in larger:
        masks = instances.masks
        if isinstance(masks, Tensor):
            larger.masks = masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        else:  # MMDetection's bitmaps or polygons
            larger.masks = masks.resize((factor * masks.height, factor * masks.width))
    return larger
