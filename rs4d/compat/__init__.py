"""The one place that adapts to versions of other people's packages."""

from .mmcv_ops import MissingMMCVOpError, ensure_mmcv_ops

__all__ = ['MissingMMCVOpError', 'ensure_mmcv_ops']
