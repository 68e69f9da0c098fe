"""A teacher's embeddings on disk: safetensors shards, an index, and what they are of."""

from .errors import TeacherCacheError
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
from .verify import verify_cache
from .writer import TeacherCacheWriter

__all__ = [
    'EMBEDDING',
    'CacheHeader',
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
    'require_no_chance',
    'verify_cache',
]
