"""Transforms of the training and test pipelines."""

from .loading import LoadReducedImage
from .packing import PackDistillInputs
from .padding import PadKeepingShape
from .teacher_embedding import LoadTeacherEmbedding

__all__ = ['LoadReducedImage', 'LoadTeacherEmbedding', 'PackDistillInputs', 'PadKeepingShape']
