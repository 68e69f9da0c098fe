"""Encoders, necks, heads, detectors and distillers, registered in MMDetection's ``MODELS``."""

from . import backbones, detectors, distillers, heads, layers, necks

__all__ = ['backbones', 'detectors', 'distillers', 'heads', 'layers', 'necks']
