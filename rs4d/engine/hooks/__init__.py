"""Hooks of MMEngine's runner."""

from .latest_checkpoint_hook import LatestCheckpointHook

__all__ = ['LatestCheckpointHook']
