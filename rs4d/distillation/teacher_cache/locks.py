"""Who may write to a cache: one process a rank, and all with the same number of ranks.

The locks are the operating system's, which takes them back from a process that is killed.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from .errors import TeacherCacheError


class WriterLock:
    """Hold a rank of a cache.

    Args:
        folder: The cache.
        rank: This process' rank.
        world_size: How many ranks there are.

    Raises:
        TeacherCacheError: Another process writes as the same rank, or with another number of ranks.
    """

    def __init__(self, folder: Path, rank: int, world_size: int) -> None:
        with ExitStack() as files:
            _take_world(files.enter_context(_open(folder / 'writers.lock')), folder, world_size)
            if not _try_lock(files.enter_context(_open(folder / f'rank{rank:05d}.lock'))):
                raise TeacherCacheError(
                    f"Another process is writing to the teacher cache '{folder}' as rank {rank}. "
                    'Give each process its own --rank.'
                )
            self.release = files.pop_all().close


def _open(path: Path) -> IO[str]:
    # To read and write, made if need be, and never emptied by opening it.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), 'r+')


def _take_world(file: IO[str], folder: Path, world_size: int) -> None:
    import fcntl

    if _try_lock(file):
        # Nobody else writes; whoever comes next has to agree.
        file.truncate(0)
        file.write(str(world_size))
        file.flush()
    fcntl.flock(file, fcntl.LOCK_SH)
    file.seek(0)
    others = file.read().strip()
    if others != str(world_size):
        raise TeacherCacheError(
            f"Another process is writing to the teacher cache '{folder}' as one of {others} ranks, "
            f'this one as one of {world_size}: both would encode the same images. Wait until it has '
            'ended, or start all with the same --world-size.'
        )


def _try_lock(file: IO[str]) -> bool:
    import fcntl  # not on Windows, where caches can be read and not written

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
