"""Errors of the data sets; each message says what is wrong, in which file, and what to do."""

from rs4d.errors import UserError


class DatasetNotFoundError(UserError, FileNotFoundError):
    """A data root, image folder, image or annotation file that a config names is not there."""


class AnnotationError(UserError, ValueError):
    """An annotation or label file does not hold what the config expects of it."""


class ImageDecodeError(UserError, ValueError):
    """A file that should be an image cannot be decoded."""
