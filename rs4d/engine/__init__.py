"""What runs around the models: hooks."""

from .hooks import LatestCheckpointHook

__all__ = ['LatestCheckpointHook']
