"""Errors of files of weights; each message names the file and says what to do."""

from rs4d.errors import UserError


class CheckpointNotFoundError(UserError, FileNotFoundError):
    """A file of weights that a config names is not there."""


class CheckpointMismatchError(UserError, ValueError):
    """A file of weights cannot be read, or does not fit the model that a config describes."""


class UnsafeCheckpointError(CheckpointMismatchError):
    """A file of weights asks for more than data, so reading it could run code that it brings."""
