"""From other formats to COCO instances."""

from .coco_json import mask_to_segmentation, write_json
from .whu import convert_whu, label_to_annotations

__all__ = ['convert_whu', 'label_to_annotations', 'mask_to_segmentation', 'write_json']
