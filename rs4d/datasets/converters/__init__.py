"""From other formats to COCO instances."""

from .coco_json import encode_rle, write_json
from .whu import convert_whu, label_to_annotations

__all__ = ['convert_whu', 'encode_rle', 'label_to_annotations', 'write_json']
