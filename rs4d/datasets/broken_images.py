"""Broken images of a data set, counted over the workers that read it, and named in the run's log."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.logging import MMLogger

from .errors import ImageDecodeError

MAX_BROKEN = 0.01
"""Which share of a set's images may be broken."""
# Of the images read so far, a share says nothing before some are broken.
_FEW = 20
_READ, _BROKEN = 1, 2


class BrokenImages:
    """Counts which images of a data set were read and which of them are broken.

    The marks, a byte an image, lie in memory that a process shares with its workers, so that each
    knows what the others have met. The processes of a distributed training count for themselves.

    Args:
        num_marks: How many images there are to mark.
        total: How many of them the data set has.
        source: Where they come from.
    """

    def __init__(self, num_marks: int, total: int, source: str) -> None:
        self.total = total
        self.source = source
        self._marks = torch.zeros(num_marks, dtype=torch.uint8).share_memory_()
        self._names: dict[int, str] = {}

    def note_whole(self, number: int) -> None:
        """Mark an image as read, by its number among all that can be marked."""
        self._marks[number] |= _READ

    def note_broken(self, number: int, path: str, error: ImageDecodeError) -> None:
        """Mark an image as broken and log it, if it was not known to be.

        Raises:
            ImageDecodeError: More than 1 % of the data set is broken, and more than one image; or
                already more than 1 % of what was read, and more than 20.
        """
        if self._marks[number] & _BROKEN:
            return
        self._marks[number] = _READ | _BROKEN
        self._names[number] = path
        broken, read = self.count()
        warn(f'{error} Another one takes its place ({broken} broken of {read} read so far).')
        of_set = broken > max(1, MAX_BROKEN * self.total)
        if of_set or (broken > _FEW and broken > MAX_BROKEN * read):
            among = f'{self.total}' if of_set else f'first {read}'
            names = ', '.join(sorted(self._names.values())[:5])
            raise ImageDecodeError(
                f'{broken} of the {among} images of {self.source} are broken, more than '
                f'{MAX_BROKEN:.0%}: {names}; the log names all. Get the shards again, or leave them '
                'out with shards=.'
            ) from error

    def count(self) -> tuple[int, int]:
        """How many images are broken, and how many were read, by all workers of this process."""
        return int((self._marks & _BROKEN).count_nonzero()), int(self._marks.count_nonzero())

    def __deepcopy__(self, memo: dict[int, Any]) -> 'BrokenImages':
        """A copy of a data set is of the same images."""
        return self


def warn(message: str) -> None:
    """Log a warning on any rank and in any worker.

    MMEngine drops warnings of all ranks but the first; they are added to the first one's file.
    """
    logger = MMLogger.get_current_instance()
    rank = get_rank()
    message = f'Rank {rank}: {message}' if rank else message
    logger.warning(message)
    has_file = any(isinstance(handler, logging.FileHandler) for handler in logger.handlers)
    file = logger.log_file
    if rank and file and not has_file and Path(file).parent.is_dir():
        now = time.strftime('%Y/%m/%d %H:%M:%S')
        with open(file, 'a', encoding='utf-8') as log:
            log.write(f'{now} - {logger.name} - WARNING - {message}\n')
