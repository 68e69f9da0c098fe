"""Running things: what the tools are made of."""

from .checkpoints import check_checkpoint, check_pretrained, read_state_dict
from .cli import load_config
from .complexity import Complexity, build_for_counting, count_complexity
from .errors import SetupError
from .preflight import check_testing, check_training
from .runner import AtomicRunner

__all__ = [
    'AtomicRunner',
    'Complexity',
    'SetupError',
    'build_for_counting',
    'check_checkpoint',
    'check_pretrained',
    'check_testing',
    'check_training',
    'count_complexity',
    'load_config',
    'read_state_dict',
]
