"""Transforms of the training and test pipelines."""

from .padding import PadKeepingShape

__all__ = ['PadKeepingShape']
