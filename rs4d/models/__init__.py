"""Encoders, necks, heads, detectors, registered in MMDetection's ``MODELS``."""

from . import backbones, detectors, heads, layers, necks, winograd

__all__ = ['backbones', 'detectors', 'heads', 'layers', 'necks', 'winograd']
