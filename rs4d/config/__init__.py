"""Reading configs: MMEngine's files, with references from one setting to another."""

from .reading import load_config
from .references import resolve

__all__ = ['load_config', 'resolve']
