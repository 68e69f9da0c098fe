"""The error of the teacher cache; its message says what is wrong, in which file, and what to do."""

from rs4d.errors import UserError


class TeacherCacheError(UserError, ValueError):
    """A cache of teacher embeddings is missing, damaged, incomplete or of something else."""
