"""The one place that adapts to versions of other people's packages."""

from .config_names import name_configs_of
from .config_text import format_configs_once
from .mmcv_ops import MissingMMCVOpError, ensure_mmcv_ops
from .mmengine_checkpoints import read_mmengine_checkpoints_with
from .quiet import quiet_others
from .without_numba import import_transforms_without_numba

__all__ = [
    'MissingMMCVOpError',
    'ensure_mmcv_ops',
    'format_configs_once',
    'import_transforms_without_numba',
    'name_configs_of',
    'quiet_others',
    'read_mmengine_checkpoints_with',
]
