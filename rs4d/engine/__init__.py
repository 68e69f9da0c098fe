"""What runs around the models: loops, hooks, optimizer wrappers, and how data is drawn."""

from .hooks.cpu_clock_hook import CpuClockHook
from .hooks.non_finite_loss_hook import NonFiniteLossError, NonFiniteLossHook
from .hooks.progress_hook import ProgressHook
from .hooks.resumable_checkpoint_hook import ResumableCheckpointHook
from .hooks.throughput_hook import ThroughputHook
from .resumable_train_loop import ResumableTrainLoop
from .runner import AtomicRunner
from .skip_non_finite import SkippingAmpOptimWrapper, SkippingOptimWrapper
from .stop_requests import StopRequests, TrainingStopped

__all__ = [
    'AtomicRunner',
    'CpuClockHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'ProgressHook',
    'ResumableCheckpointHook',
    'ResumableTrainLoop',
    'SkippingAmpOptimWrapper',
    'SkippingOptimWrapper',
    'StopRequests',
    'ThroughputHook',
    'TrainingStopped',
]
