"""Libraries of the package's extras, asked for when they are needed."""

from importlib import import_module
from types import ModuleType

from .errors import UserError


class MissingExtraError(UserError, ImportError):
    """A feature was asked for whose libraries are not installed."""


def extra_library(extra: str, name: str, purpose: str) -> ModuleType:
    """Import a module that an extra brings.

    Args:
        extra: The extra, such as ``'geo'``.
        name: The module, such as ``'rasterio'`` or ``'rasterio.windows'``.
        purpose: What it is needed for, as the subject of a sentence: ``'Reading a raster'``.

    Raises:
        MissingExtraError: It is not installed; the message is one sentence that names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # An import that fails inside of an installed library is another fault, and not hidden.
        if error.name != name.partition('.')[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs {error.name}, which is not installed: pip install '.[{extra}]' in the "
            'checkout of rs4d.'
        ) from error
