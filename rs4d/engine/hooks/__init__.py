"""Hooks of MMEngine's runner."""

from .latest_checkpoint_hook import LatestCheckpointHook
from .non_finite_loss_hook import NonFiniteLossHook
from .progress_hook import ProgressHook
from .resumable_checkpoint_hook import ResumableCheckpointHook
from .throughput_hook import ThroughputHook

__all__ = [
    'LatestCheckpointHook',
    'NonFiniteLossHook',
    'ProgressHook',
    'ResumableCheckpointHook',
    'ThroughputHook',
]
