"""The libraries of the extra ``geo``, asked for when they are needed."""

from types import ModuleType

from rs4d.extras import MissingExtraError, extra_library

__all__ = ['MissingExtraError', 'geo_library']


def geo_library(name: str, purpose: str) -> ModuleType:
    """Import a module of the extra ``geo``; see `extra_library`.

    Raises:
        MissingExtraError: It is not installed; the message is one sentence that names the extra.
    """
    return extra_library('geo', name, purpose)
