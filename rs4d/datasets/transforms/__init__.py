"""Transforms of the training and test pipelines."""

from .loading import LoadImage
from .packing import PackDistillInputs
from .padding import PadKeepingShape
from .teacher_embedding import LoadTeacherEmbedding

__all__ = ['LoadImage', 'LoadTeacherEmbedding', 'PackDistillInputs', 'PadKeepingShape']
