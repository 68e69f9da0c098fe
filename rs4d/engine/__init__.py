"""What runs around the models: loops, hooks, optimizer wrappers, and how data is drawn."""

from .errors import NonFiniteLossError
from .hooks import (
    LatestCheckpointHook,
    NonFiniteLossHook,
    ProgressHook,
    ResumableCheckpointHook,
    ThroughputHook,
)
from .loops import ResumableTrainLoop
from .optim import SkipNonFinite, SkippingAmpOptimWrapper, SkippingOptimWrapper
from .runner import AtomicRunner
from .seeded_data import ResumedBatchSampler, SeededDataset, SeededSampler
from .stop_requests import StopRequests, TrainingStopped

__all__ = [
    'AtomicRunner',
    'LatestCheckpointHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'ProgressHook',
    'ResumableCheckpointHook',
    'ResumableTrainLoop',
    'ResumedBatchSampler',
    'SeededDataset',
    'SeededSampler',
    'SkipNonFinite',
    'SkippingAmpOptimWrapper',
    'SkippingOptimWrapper',
    'StopRequests',
    'ThroughputHook',
    'TrainingStopped',
]
