"""Who may write to a cache: one process a rank, and all with the same number of ranks.

The locks are the operating system's, which takes them back from a process that is killed.
"""

import os
from pathlib import Path
from typing import IO

from .errors import TeacherCacheError

try:
    import fcntl
except ImportError:  # Windows, where caches can be read and not written
    fcntl = None  # type: ignore[assignment]


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
        if fcntl is None:
            raise TeacherCacheError(
                'Writing a teacher cache needs the file locks of Linux or macOS, which this system '
                'does not have. Make the cache there and copy it.'
            )
        self._files: list[IO[str]] = []
        try:
            self._take_world(folder / 'writers.lock', world_size)
            self._take_rank(folder / f'rank{rank:05d}.lock', rank)
        except TeacherCacheError:
            self.release()
            raise

    def release(self) -> None:
        """Let others write."""
        for file in self._files:
            file.close()
        self._files = []

    def _open(self, path: Path) -> IO[str]:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), 'r+')
        self._files.append(file)
        return file

    def _take_world(self, path: Path, world_size: int) -> None:
        file = self._open(path)
        if _try_lock(file, fcntl.LOCK_EX):
            # Nobody else writes; whoever comes next has to agree.
            file.truncate(0)
            file.write(str(world_size))
            file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
        file.seek(0)
        others = file.read().strip()
        if others != str(world_size):
            raise TeacherCacheError(
                f"Another process is writing to the teacher cache '{path.parent}' as one of {others} "
                f'ranks, this one as one of {world_size}: both would encode the same images. Wait '
                'until it has ended, or start all with the same --world-size.'
            )

    def _take_rank(self, path: Path, rank: int) -> None:
        if not _try_lock(self._open(path), fcntl.LOCK_EX):
            raise TeacherCacheError(
                f"Another process is writing to the teacher cache '{path.parent}' as rank {rank}. "
                'Give each process its own --rank.'
            )


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
