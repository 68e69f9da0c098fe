"""A teacher's embeddings on disk: safetensors shards, an index, and what they are of."""

from .header import (
    EMBEDDING,
    CacheHeader,
    SkippedImageError,
    TeacherCacheError,
    describe_images,
    describe_normalisation,
    read_cache_header,
)
from .index import cached_keys, read_skipped
from .keys import KeySet, hash_keys, image_key, rank_of
from .reader import TeacherCacheReader, verify_cache
from .writer import TeacherCacheWriter

__all__ = [
    'EMBEDDING',
    'CacheHeader',
    'KeySet',
    'SkippedImageError',
    'TeacherCacheError',
    'TeacherCacheReader',
    'TeacherCacheWriter',
    'cached_keys',
    'describe_images',
    'describe_normalisation',
    'hash_keys',
    'image_key',
    'rank_of',
    'read_cache_header',
    'read_skipped',
    'verify_cache',
]
