"""Transforms of the training and test pipelines."""

from .loading import LoadImage
from .packing import PackDistillInputs
from .padding import PadKeepingShape

__all__ = ['LoadImage', 'PackDistillInputs', 'PadKeepingShape']
