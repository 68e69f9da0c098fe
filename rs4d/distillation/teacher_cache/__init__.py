"""A teacher's embeddings on disk: safetensors shards, an index, and what they are of."""

from .errors import SkippedImageError, TeacherCacheError
from .header import (
    EMBEDDING,
    CacheHeader,
    describe_images,
    describe_normalisation,
    describe_teacher,
    read_header,
)
from .keys import image_key, rank_of
from .pipeline import pixel_transforms, require_no_chance
from .reader import TeacherCacheReader
from .skipped import read_skipped, some_names, too_many_skipped
from .verify import verify_cache
from .writer import TeacherCacheWriter

__all__ = [
    'EMBEDDING',
    'CacheHeader',
    'SkippedImageError',
    'TeacherCacheError',
    'TeacherCacheReader',
    'TeacherCacheWriter',
    'describe_images',
    'describe_normalisation',
    'describe_teacher',
    'image_key',
    'pixel_transforms',
    'rank_of',
    'read_header',
    'read_skipped',
    'require_no_chance',
    'some_names',
    'too_many_skipped',
    'verify_cache',
]
