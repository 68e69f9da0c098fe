"""The error of the teacher cache; its message says what is wrong, in which file, and what to do."""

from rs4d.datasets.errors import ImageDecodeError
from rs4d.errors import UserError


class TeacherCacheError(UserError, ValueError):
    """A cache of teacher embeddings is missing, damaged, incomplete or of something else."""


class SkippedImageError(TeacherCacheError, ImageDecodeError):
    """The cache has no embedding of an image that could not be read when it was made.

    To a data set it is a broken image, of which some may be: `SA1BDataset` leaves it out.
    """
