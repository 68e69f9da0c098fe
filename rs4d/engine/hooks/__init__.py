"""Hooks of MMEngine's runner."""

from .latest_checkpoint_hook import LatestCheckpointHook
from .non_finite_loss_hook import NonFiniteLossHook
from .resumable_checkpoint_hook import ResumableCheckpointHook

__all__ = ['LatestCheckpointHook', 'NonFiniteLossHook', 'ResumableCheckpointHook']
