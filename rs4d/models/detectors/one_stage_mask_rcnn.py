"""Boxes in one stage, masks in the boxes."""

from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor


@MODELS.register_module()
class OneStageMaskRCNN(SingleStageDetector):
    """A dense head whose boxes are final, and Mask R-CNN's mask branch on those that are kept.

    There are no proposals, and nothing is computed for each of them: masks are the only work that
    grows with the number of objects.

    Args:
        roi_head: A :class:`~rs4d.models.heads.BoxMaskRoIHead`, with its ``train_cfg`` and ``test_cfg``.
        **kwargs: Those of MMDetection's ``SingleStageDetector``.
    """

    def __init__(self, *, roi_head: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.roi_head = MODELS.build(roi_head)
        # As the encoder's tokens lie in memory; separable convolutions are faster so, too.
        self.to(memory_format=torch.channels_last)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Make the neck's maps of normalised images (B, 3, H, W), channels last in memory."""
        maps: tuple[Tensor, ...] = super().extract_feat(
            batch_inputs.contiguous(memory_format=torch.channels_last)
        )
        return maps

    def loss(self, batch_inputs: Tensor, batch_data_samples: list) -> dict[str, Any]:
        """Compute the losses of boxes and masks.

        Args:
            batch_inputs: Normalised images (B, 3, H, W).
            batch_data_samples: For each image, its objects.

        Returns:
            Those of the dense head, and ``loss_mask``.
        """
        x = self.extract_feat(batch_inputs)
        losses = self.bbox_head.loss(x, [_without_masks(sample) for sample in batch_data_samples])
        return {**losses, **self.roi_head.loss(x, batch_data_samples)}

    def predict(self, batch_inputs: Tensor, batch_data_samples: list, rescale: bool = True) -> list:
        """Predict boxes, scores, labels and masks.

        Args:
            batch_inputs: Normalised images (B, 3, H, W).
            batch_data_samples: What is known of each image.
            rescale: Give them in pixels of the original image.

        Returns:
            The samples with ``pred_instances``.
        """
        x = self.extract_feat(batch_inputs)
        found = self.bbox_head.predict(x, batch_data_samples, rescale=False)
        metas = [sample.metainfo for sample in batch_data_samples]
        found = self.roi_head.predict_mask(x, metas, found, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, found)


def _without_masks(sample: DetDataSample) -> DetDataSample:
    """Copy a sample; RTMDet's assigner would take the centres of masks, which cost and gain nothing."""
    objects = InstanceData(**{k: v for k, v in sample.gt_instances.items() if k != 'masks'})
    copy = DetDataSample(metainfo=sample.metainfo, gt_instances=objects)
    if 'ignored_instances' in sample:
        copy.ignored_instances = sample.ignored_instances
    return copy
