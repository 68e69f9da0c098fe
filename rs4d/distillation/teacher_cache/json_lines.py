"""Lists that are only ever added to, a line of JSON an entry, by a process that may be killed."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rs4d.files import written_whole

from .errors import TeacherCacheError

T = TypeVar('T')


def append_line(path: Path, **entry: Any) -> None:
    """Add an entry, and wait until it is on the disk."""
    with path.open('a') as file:
        file.write(json.dumps(entry) + '\n')
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path, make: Callable[..., T], remedy: str) -> Iterator[T]:
    """Read the entries.

    A last line without an end is one that is being written or that a kill cut off; it is left out.

    Args:
        path: The file.
        make: Makes something of an entry, whose parts are its arguments.
        remedy: What to do if a line is damaged.

    Yields:
        What ``make`` returns.

    Raises:
        TeacherCacheError: A line is damaged.
    """
    with path.open() as file:
        for number, line in enumerate(file, 1):
            if not line.endswith('\n'):
                break
            try:
                yield make(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise TeacherCacheError(
                    f"Line {number} of '{path}' is damaged ({error}). {remedy}"
                ) from error


def rewrite_lines(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write the file anew from entries, which may still be being read from it."""
    with written_whole(path) as part, part.open('w') as file:
        file.writelines(json.dumps(entry) + '\n' for entry in entries)
