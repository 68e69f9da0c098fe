"""Masks in boxes that another head has found."""

from typing import Any

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules import AssignResult, PseudoSampler
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor


@MODELS.register_module()
class BoxMaskRoIHead(StandardRoIHead):
    """The mask branch of Mask R-CNN without its box branch.

    It learns from the true boxes, moved a little, so that it needs no proposals: predicted boxes are
    not exact either.

    Args:
        jitter: By how much of its width or height each side of a box is moved at most.
        max_masks: Most masks an image and step, drawn at random; None for all.
        **kwargs: ``mask_roi_extractor``, ``mask_head``, ``train_cfg`` (``mask_size``), ``test_cfg``
            (``mask_thr_binary``) of MMDetection's ``StandardRoIHead``.
    """

    def __init__(self, jitter: float = 0.1, max_masks: int | None = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.jitter, self.max_masks = jitter, max_masks

    def init_assigner_sampler(self) -> None:
        """Make nothing: each box is that of its object."""

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: list) -> dict[str, Tensor]:
        """Compute the loss of the masks.

        Args:
            x: The neck's maps, (B, C, H / stride, W / stride).
            batch_data_samples: For each image, its objects.

        Returns:
            ``loss_mask``; 0 with a gradient for every parameter if there are no objects.
        """
        instances = unpack_gt_instances(batch_data_samples)[0]
        samples = []
        for item in instances:
            count = len(item)
            order = torch.randperm(count)[: self.max_masks].to(item.bboxes.device)
            boxes = item.bboxes[order]
            sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
            moved = boxes + sides * torch.empty_like(boxes).uniform_(-self.jitter, self.jitter)
            assigned = AssignResult(count, order + 1, None, labels=item.labels[order])
            samples.append(PseudoSampler().sample(assigned, InstanceData(priors=moved), item))
        predictions = self._mask_forward(x, bbox2roi([sample.pos_priors for sample in samples]))
        return self.mask_head.loss_and_target(
            predictions['mask_preds'], samples, instances, self.train_cfg
        )['loss_mask']
