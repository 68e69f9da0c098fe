"""Stage 1: distillation of a frozen encoder into a student."""

from .corruption import NoiseAndMask
from .feature_distiller import FeatureDistiller
from .frozen_teacher import FrozenTeacher
from .losses import FeatureLoss
from .matches import AggregatedMatch, BlockMatch, EmbeddingMatch, FeatureMatch
from .schedules import (
    AdaptiveSchedule,
    CorruptionSchedule,
    FixedSchedule,
    LinearSchedule,
    ProgressSchedule,
)
from .standardisation import ChannelStandardisation
from .teacher_cache.cached_teacher import CachedTeacher
from .teacher_cache.loading import LoadTeacherEmbedding, PackDistillInputs

__all__ = [
    'AdaptiveSchedule',
    'AggregatedMatch',
    'BlockMatch',
    'CachedTeacher',
    'ChannelStandardisation',
    'CorruptionSchedule',
    'EmbeddingMatch',
    'FeatureDistiller',
    'FeatureLoss',
    'FeatureMatch',
    'FixedSchedule',
    'FrozenTeacher',
    'LinearSchedule',
    'LoadTeacherEmbedding',
    'NoiseAndMask',
    'PackDistillInputs',
    'ProgressSchedule',
]
