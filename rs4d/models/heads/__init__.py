"""Heads: SAM's mask decoder, prompted by boxes or by learned queries, and faster parts of others."""

from .box_mask_roi_head import BoxMaskRoIHead
from .channels_last_roi_extractor import ChannelsLastRoIExtractor
from .embedded_pyramid import EmbeddedPyramid
from .instance_mask2former_head import InstanceMask2FormerHead
from .prompt_mask_head import PromptMaskHead
from .prompt_query_head import PromptQueryHead
from .prompt_roi_head import PromptRoIHead
from .query_prompter import QueryPrompter
from .roi_prompter import RoIPrompter
from .sam_mask_decoder import SAMMaskDecoder
from .winograd_rpn_head import WinogradRPNHead

__all__ = [
    'BoxMaskRoIHead',
    'ChannelsLastRoIExtractor',
    'EmbeddedPyramid',
    'InstanceMask2FormerHead',
    'PromptMaskHead',
    'PromptQueryHead',
    'PromptRoIHead',
    'QueryPrompter',
    'RoIPrompter',
    'SAMMaskDecoder',
    'WinogradRPNHead',
]
