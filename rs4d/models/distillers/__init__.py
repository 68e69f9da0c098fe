"""Stage 1: distillation of a frozen encoder into a student."""

from .adaptive_noise_masking import AdaptiveNoiseMasking
from .feature_distiller import FeatureDistiller
from .frozen_teacher import FrozenTeacher
from .losses import FeatureLoss

__all__ = ['AdaptiveNoiseMasking', 'FeatureDistiller', 'FeatureLoss', 'FrozenTeacher']
