"""Mask2Former's head for instances, whatever their number of classes."""

from typing import Any

from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict


@MODELS.register_module()
class InstanceMask2FormerHead(Mask2FormerHead):
    """MMDetection's ``Mask2FormerHead``, without stuff, and with its weights.

    The weights of the classes in the loss follow from their number, so that a config says it once.

    Args:
        num_classes: Classes of instances.
        loss_cls: The loss of classes, without ``class_weight``.
        no_object_weight: Weight of 'no object' in it; that of every class is 1.
        **kwargs: As for ``Mask2FormerHead``.
    """

    def __init__(
        self,
        num_classes: int,
        loss_cls: dict[str, Any],
        no_object_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        weights = [1.0] * num_classes + [no_object_weight]
        super().__init__(
            num_things_classes=num_classes,
            num_stuff_classes=0,
            loss_cls=ConfigDict(loss_cls, class_weight=weights),
            **kwargs,
        )
