"""What all errors share that are the user's to mend."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice


class UserError(Exception):
    """An input is wrong: a file, a config, a command.

    The message is one paragraph that says what is wrong, where, and what to do; the tools print it
    without a traceback. Errors derive from this class and from the built-in one that fits.
    """


class ConfigError(UserError, ValueError):
    """A setting that cannot be, or a config, file or option that does not fit the rest."""


class InputSizeError(UserError, ValueError):
    """An image has a size that an encoder cannot take."""


def some(names: Collection[object], count: int = 3) -> str:
    """Name the first few of many in a message, with dots where there are more."""
    return ', '.join(map(str, islice(names, count))) + (', ...' if len(names) > count else '')


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is PyTorch's or Python's way to say that a CPU's memory is used up."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("can't allocate memory" in text or 'not enough memory' in text)
    )


class Problems:
    """Collects the errors of several checks, so that all that is wrong can be mended in one go."""

    def __init__(self) -> None:
        self._noted: list[UserError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a user's error instead of raising it."""
        try:
            yield
        except UserError as error:
            self._noted.append(error)

    def raise_all(self) -> None:
        """Raise one error that says all.

        Raises:
            UserError: Something was noted; it has the class of the first error.
        """
        if self._noted:
            messages = dict.fromkeys(str(error) for error in self._noted)
            raise type(self._noted[0])(' '.join(messages)) from self._noted[0]
