"""A teacher's embeddings on disk: safetensors shards, an index, and what they are of."""

from .errors import SkippedImageError, TeacherCacheError
from .header import (
    EMBEDDING,
    CacheHeader,
    describe_normalisation,
    describe_teacher,
    read_cache_header,
)
from .keys import KeySet, hash_keys, image_key, rank_of
from .pipeline import describe_images
from .reader import TeacherCacheReader
from .skipped import read_skipped
from .verify import verify_cache
from .writer import TeacherCacheWriter

__all__ = [
    'EMBEDDING',
    'CacheHeader',
    'KeySet',
    'SkippedImageError',
    'TeacherCacheError',
    'TeacherCacheReader',
    'TeacherCacheWriter',
    'describe_images',
    'describe_normalisation',
    'describe_teacher',
    'hash_keys',
    'image_key',
    'rank_of',
    'read_cache_header',
    'read_skipped',
    'verify_cache',
]
