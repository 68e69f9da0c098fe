"""Detectors beyond MMDetection's own."""

from .empty_safe import EmptySafeCondInst, EmptySafeRTMDet, EmptySafeSOLOv2
from .one_stage_mask_rcnn import OneStageMaskRCNN
from .prompt_mask_rcnn import PromptMaskRCNN
from .prompt_query_detector import PromptQueryDetector

__all__ = [
    'EmptySafeCondInst',
    'EmptySafeRTMDet',
    'EmptySafeSOLOv2',
    'OneStageMaskRCNN',
    'PromptMaskRCNN',
    'PromptQueryDetector',
]
