"""Files of weights as data: read without running code, loaded with an account of what fitted.

Importing the package, as ``import rs4d`` does, makes MMEngine read checkpoints this way too.
"""

from .encoder_files import (
    HEADER_KEY,
    check_header,
    describe_encoder,
    encoder_prefix,
    read_header,
    write_encoder,
)
from .errors import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
    UnsafeCheckpointError,
)
from .load_report import LoadReport, logged_load
from .loaders import load_from_file, load_from_http
from .pretrained_init import LoggedPretrainedInit
from .reading import read_checkpoint, state_dict_of

__all__ = [
    'HEADER_KEY',
    'CheckpointMismatchError',
    'CheckpointNotFoundError',
    'LoadReport',
    'LoggedPretrainedInit',
    'UnsafeCheckpointError',
    'check_header',
    'describe_encoder',
    'encoder_prefix',
    'load_from_file',
    'load_from_http',
    'logged_load',
    'read_checkpoint',
    'read_header',
    'state_dict_of',
    'write_encoder',
]
