"""What all errors share that are the user's to mend."""

from collections.abc import Collection
from itertools import islice


class UserError(Exception):
    """An input is wrong: a file, a config, a command.

    The message is one paragraph that says what is wrong, where, and what to do; the tools print it
    without a traceback. Errors derive from this class and from the built-in one that fits.
    """


class ConfigError(UserError, ValueError):
    """A config or a call gives a part of a model a value that it cannot have."""


class SetupError(UserError, ValueError):
    """A config, file or option that cannot work together with the rest."""


class InputSizeError(UserError, ValueError):
    """An image has a size that an encoder cannot take."""


def some(names: Collection[object], count: int = 3) -> str:
    """Name the first few of many in a message.

    Args:
        names: What there is.
        count: How many are named.

    Returns:
        The names with commas, and dots where there are more.
    """
    return ', '.join(map(str, islice(names, count))) + (', ...' if len(names) > count else '')
