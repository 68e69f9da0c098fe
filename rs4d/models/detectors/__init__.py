"""Detectors beyond MMDetection's own."""

from .prompt_mask_rcnn import PromptMaskRCNN

__all__ = ['PromptMaskRCNN']
