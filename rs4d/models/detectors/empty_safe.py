"""Single-stage detectors that train in several processes on batches without objects, too."""

from typing import Any

from mmdet.models.detectors import CondInst, RTMDet, SOLOv2
from mmdet.registry import MODELS
from torch import Tensor


class EmptySafeMixin:
    """Let every batch reach every parameter of the heads, with 0 where there is nothing to learn.

    MMDetection's heads of dynamic masks leave their mask branch out of the loss of a batch without
    objects, and ``DistributedDataParallel`` stops at the next iteration. To have it look for such
    parameters would cost a walk over the graph in every iteration, and hide those that never train.
    """

    def loss(self, batch_inputs: Tensor, batch_data_samples: list, **kwargs: Any) -> dict[str, Any]:
        """Compute losses as the detector does.

        Args:
            batch_inputs: Normalised images (B, 3, H, W).
            batch_data_samples: For each image, its objects.
            **kwargs: Passed on.

        Returns:
            The detector's losses; ``loss_mask`` has a gradient of 0 for every parameter of the heads
            beside its own.
        """
        losses = super().loss(batch_inputs, batch_data_samples, **kwargs)  # type: ignore[misc]
        for name, head in self.named_children():  # type: ignore[attr-defined]
            # Encoder and neck are behind the scores, which every batch trains.
            if name.endswith('head'):
                for parameter in head.parameters():
                    if parameter.requires_grad:
                        # Zero before the sum: half precision overflows in it.
                        losses['loss_mask'] = losses['loss_mask'] + (parameter * 0).sum()
        return losses


@MODELS.register_module()
class EmptySafeSOLOv2(EmptySafeMixin, SOLOv2):
    """MMDetection's ``SOLOv2``, with its arguments, numbers and weights."""


@MODELS.register_module()
class EmptySafeCondInst(EmptySafeMixin, CondInst):
    """MMDetection's ``CondInst``, with its arguments, numbers and weights."""


@MODELS.register_module()
class EmptySafeRTMDet(EmptySafeMixin, RTMDet):
    """MMDetection's ``RTMDet`` with a head of masks, with its arguments, numbers and weights."""
