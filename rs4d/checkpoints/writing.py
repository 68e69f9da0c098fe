"""Checkpoints that are whole or absent, whichever runner writes them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import all_gather_object, is_main_process

from .errors import CheckpointWriteError

_PART = '.part'


@contextmanager
def written_whole(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a checkpoint beside its final name, and rename it when it is on the disk.

    All ranks have to enter, and all learn whether it was written. What an interrupted or failed
    write leaves is removed; the checkpoint that had the name before stays until it is replaced.

    Args:
        target: The file, or the folder to which each rank writes a file of its own.

    Yields:
        The temporary path to write to.

    Raises:
        CheckpointWriteError: A rank could not write, for example because the disk is full.
    """
    target = Path(target)
    part = target.with_name(f'{target.name}{_PART}')
    main = is_main_process()
    try:
        problem = None
        try:
            yield part
        except OSError as error:
            problem = error
        _agree(target, problem)
        try:
            if main:
                _flush(part)
                _replace(part, target)
        except OSError as error:
            problem = error
        _agree(target, problem)
    finally:
        if main:
            _remove(part)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what a killed run had not finished writing.

    Args:
        folder: The work dir.
    """
    if is_main_process():
        for part in Path(folder).glob(f'*.pth{_PART}'):
            _remove(part)


def _agree(target: Path, problem: OSError | None) -> None:
    """Raise on all ranks if one has a problem: none may wait for one that has left."""
    own = None if problem is None else str(problem.strerror or problem)
    reasons = [reason for reason in all_gather_object(own) if reason is not None]
    if reasons:
        raise CheckpointWriteError(
            f"The checkpoint '{target}' could not be written: {reasons[0]}. Free some space, or "
            'choose a --work-dir that can be written to; with --resume the training goes on from '
            'the newest checkpoint that is there.'
        ) from problem


def _flush(path: Path) -> None:
    """Have the disk write a file, or those of a folder, before its name says that it is there."""
    for file in [*path.iterdir(), path] if path.is_dir() else [path]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(part: Path, target: Path) -> None:
    if target.is_dir():
        # A folder cannot be renamed over another.
        shutil.rmtree(target)
    part.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
