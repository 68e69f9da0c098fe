"""Predictions: of images in Python, and of whole scenes into layers of polygons."""

from .predictor import Predictor
from .results import Instances

__all__ = ['Instances', 'Predictor']
