"""Stage 1: distillation of a frozen encoder into a student."""

from .adaptive_noise_masking import AdaptiveNoiseMasking
from .feature_distiller import FeatureDistiller
from .frozen_teacher import FrozenTeacher
from .losses import FeatureLoss
from .matches import AggregatedMatch, BlockMatch, EmbeddingMatch, FeatureMatch
from .teacher_cache.cached_teacher import CachedTeacher
from .teacher_cache.loading import LoadTeacherEmbedding

__all__ = [
    'AdaptiveNoiseMasking',
    'AggregatedMatch',
    'BlockMatch',
    'CachedTeacher',
    'EmbeddingMatch',
    'FeatureDistiller',
    'FeatureLoss',
    'FeatureMatch',
    'FrozenTeacher',
    'LoadTeacherEmbedding',
]
