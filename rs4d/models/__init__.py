"""Data preprocessors, encoders, necks, heads, detectors, registered in MMDetection's ``MODELS``."""

from . import backbones, data_preprocessor, detectors, heads, layers, necks, winograd

__all__ = [
    'backbones',
    'data_preprocessor',
    'detectors',
    'heads',
    'layers',
    'necks',
    'winograd',
]
