"""Detectors beyond MMDetection's own."""

from .empty_safe import EmptySafeCondInst, EmptySafeRTMDet, EmptySafeSOLOv2
from .prompt_mask_rcnn import PromptMaskRCNN

__all__ = ['EmptySafeCondInst', 'EmptySafeRTMDet', 'EmptySafeSOLOv2', 'PromptMaskRCNN']
