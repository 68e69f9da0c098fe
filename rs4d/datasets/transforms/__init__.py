"""Transforms of the training and test pipelines."""

from .packing import PackDistillInputs
from .padding import PadKeepingShape
from .teacher_embedding import LoadTeacherEmbedding

__all__ = ['LoadTeacherEmbedding', 'PackDistillInputs', 'PadKeepingShape']
