"""Layers of other libraries, made known to the registries."""

from mmengine.registry import MODELS
from timm.layers import LayerNorm2d

# The root registry: MMCV looks up the norm_cfg of a convolution there when no scope is set.
MODELS.register_module('LN2d', module=LayerNorm2d)

__all__ = ['LayerNorm2d']
