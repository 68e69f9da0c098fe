"""Encoders, necks, heads, detectors, registered in MMDetection's ``MODELS``."""

from . import backbones, detectors, heads, layers, necks

__all__ = ['backbones', 'detectors', 'heads', 'layers', 'necks']
