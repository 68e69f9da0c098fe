"""Hooks of MMEngine's runner."""

from .embedding_visualization_hook import EmbeddingVisualizationHook, VisualizationError
from .latest_checkpoint_hook import LatestCheckpointHook
from .non_finite_loss_hook import NonFiniteLossHook
from .progress_hook import ProgressHook
from .resumable_checkpoint_hook import ResumableCheckpointHook
from .throughput_hook import ThroughputHook

__all__ = [
    'EmbeddingVisualizationHook',
    'LatestCheckpointHook',
    'NonFiniteLossHook',
    'ProgressHook',
    'ResumableCheckpointHook',
    'ThroughputHook',
    'VisualizationError',
]
