"""Files of weights as data: read without running code, loaded with an account of what fitted.

Importing the package, as ``import rs4d`` does, makes MMEngine read checkpoints this way too.
"""

from .errors import CheckpointMismatchError, CheckpointNotFoundError, UnsafeCheckpointError
from .foreign import additions_to_sam, load_all, part_of, read_weights
from .load_report import logged_load
from .loaders import register_loaders
from .pretrained_init import LoggedPretrainedInit
from .reading import trained_classes

register_loaders()

__all__ = [
    'CheckpointMismatchError',
    'CheckpointNotFoundError',
    'LoggedPretrainedInit',
    'UnsafeCheckpointError',
    'additions_to_sam',
    'load_all',
    'logged_load',
    'part_of',
    'read_weights',
    'trained_classes',
]
