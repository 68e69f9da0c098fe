"""Encoders, necks, heads and distillers, registered in MMDetection's ``MODELS``."""

from . import backbones, distillers, layers, necks

__all__ = ['backbones', 'distillers', 'layers', 'necks']
