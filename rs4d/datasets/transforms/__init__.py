"""Transforms of the training and test pipelines."""

from .loading import LoadImage
from .padding import PadKeepingShape

__all__ = ['LoadImage', 'PadKeepingShape']
