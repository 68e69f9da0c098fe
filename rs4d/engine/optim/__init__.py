"""Optimizer wrappers."""

from .skip_non_finite import SkipNonFinite, SkippingAmpOptimWrapper, SkippingOptimWrapper

__all__ = ['SkipNonFinite', 'SkippingAmpOptimWrapper', 'SkippingOptimWrapper']
