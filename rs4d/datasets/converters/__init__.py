"""From other formats to COCO instances."""

from .whu import convert_whu, label_to_annotations

__all__ = ['convert_whu', 'label_to_annotations']
