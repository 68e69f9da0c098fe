"""The one way in which this package writes a file: whole or not at all."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError

PART = '.part'


class FileWriteError(UserError, OSError):
    """A file could not be written; what was there before is as it was."""


class ExistingFileError(UserError, FileExistsError):
    """A file would be overwritten that its user may need."""


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file beside its final name, and rename it when it is on the disk.

    A process that is killed and a disk that is full leave what was there before. Processes that
    write the same file at the same time do not disturb each other; the last one to end wins.

    Args:
        path: The file; its folder is made if need be.

    Yields:
        The temporary path to write to, ending in ``.part``.

    Raises:
        FileWriteError: It cannot be written, for example because the disk is full.
    """
    path = Path(path)
    part = path.with_name(f'{path.name}.{os.getpid()}{PART}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            if not part.is_symlink():
                _flush(part)
            part.replace(path)
            _flush(path.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise unwritten(path, error) from error


def unwritten(path: str | os.PathLike[str], error: OSError) -> FileWriteError:
    """Say that a file could not be written, and that what was there before is as it was."""
    return FileWriteError(
        f"'{path}' could not be written: {error.strerror or error}. Free some space or choose "
        'another place; what was there before is as it was.'
    )


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all.

    What a library writes by itself, such as tensors, is better turned into bytes first: libraries
    have errors of their own for a full disk.
    """
    with written_whole(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = None) -> None:
    """Write a JSON file whole or not at all; ``indent`` is as for :func:`json.dumps`."""
    write_text(path, json.dumps(content, indent=indent) + '\n')


def refuse_existing(*paths: str | os.PathLike[str]) -> None:
    """Raise if a file that is going to be written is there already.

    Raises:
        ExistingFileError: One is there.
    """
    for path in map(Path, paths):
        if path.exists():
            raise ExistingFileError(
                f"'{path}' exists already and is not overwritten. Give another place, or add "
                '--overwrite to replace it.'
            )


def make_folder(folder: str | os.PathLike[str], option: str) -> None:
    """Make a folder that results will go to, if need be, and raise unless files can be written in it.

    Args:
        folder: The folder.
        option: What names it on the command line.

    Raises:
        FileWriteError: It cannot be made, or nothing can be written in it.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FileWriteError(
            f"Nothing can be written to the folder '{folder}': {error.strerror or error}. Choose "
            f'another one by {option}, or change who may write there.'
        ) from error


def keep_earlier(file: str | os.PathLike) -> Path | None:
    """Move a file that is about to be written aside, to a name with the time of its last change.

    Returns:
        Where the earlier file is now, or None if there was none.
    """
    path = Path(file)
    if not path.exists():
        return None
    stamp = time.strftime('%Y%m%d_%H%M%S', time.localtime(path.stat().st_mtime))
    aside = path.with_name(f'{path.stem}_{stamp}{path.suffix}')
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f'{path.stem}_{stamp}_{number}{path.suffix}')
    return path.rename(aside)


def remove_parts(folder: str | os.PathLike[str], pattern: str = '*') -> None:
    """Remove what killed processes had not finished writing.

    Args:
        folder: Where they wrote; no other process may be writing there.
        pattern: Which files, by their final names.
    """
    for part in Path(folder).glob(f'{pattern}*{PART}'):
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the disk write a file, or the names in a folder, before anything relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
