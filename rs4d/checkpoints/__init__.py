"""Files of weights as data: read without running code, loaded with an account of what fitted.

Importing the package, as ``import rs4d`` does, makes MMEngine read checkpoints this way too.
"""

from .encoder_files import (
    HEADER_KEY,
    check_header,
    describe_encoder,
    encoder_header,
    encoder_prefix,
    write_encoder,
)
from .errors import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
    UnsafeCheckpointError,
)
from .foreign import load_all, part_of, read_weights
from .load_report import LoadReport, logged_load
from .loaders import register_loaders
from .plain_data import numpy_globals, read_pickle
from .pretrained_init import LoggedPretrainedInit
from .reading import WRAPPERS, read_checkpoint, state_dict_of

register_loaders()

__all__ = [
    'HEADER_KEY',
    'WRAPPERS',
    'CheckpointMismatchError',
    'CheckpointNotFoundError',
    'LoadReport',
    'LoggedPretrainedInit',
    'UnsafeCheckpointError',
    'check_header',
    'describe_encoder',
    'encoder_header',
    'encoder_prefix',
    'load_all',
    'logged_load',
    'numpy_globals',
    'part_of',
    'read_checkpoint',
    'read_pickle',
    'read_weights',
    'state_dict_of',
    'write_encoder',
]
