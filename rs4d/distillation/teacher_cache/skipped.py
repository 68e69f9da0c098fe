"""Images that could not be read when a cache was made: one line of JSON each, one file a rank.

They are known as such to whoever verifies, continues or reads the cache. Deleting the files has them
tried again.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from rs4d.errors import some

from .json_lines import append_line, read_lines, rewrite_lines

# Of a data set's images, how many may be unreadable.
MAX_SKIPPED = 0.01
_PATTERN = 'skipped-rank*.jsonl'
RETRY = f'delete {_PATTERN} in the cache and start rs4d cache-teacher again'


def append_skipped(folder: Path, rank: int, key: str, reason: str) -> None:
    """Note an image and why it could not be read, and wait until that is on the disk."""
    append_line(_path(folder, rank), key=key, reason=reason)


def read_skipped(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Read which images all ranks have skipped.

    Args:
        folder: The cache, which need not be there.

    Returns:
        From their keys to the reasons.
    """
    skipped: dict[str, str] = {}
    for path in sorted(Path(folder).glob(_PATTERN)):
        skipped |= _read_part(path)
    return skipped


def repair_skipped(folder: Path, rank: int) -> None:
    """Remove a last line that a kill cut off, so that the rank can add more."""
    path = _path(folder, rank)
    if path.exists():
        rewrite_lines(path, [dict(key=k, reason=why) for k, why in _read_part(path).items()])


def too_many_skipped(skipped: Mapping[str, str], total: int) -> str | None:
    """Say that more images could not be read than a data set may have of such.

    Args:
        skipped: From keys to reasons, of the data set's images alone.
        total: How many images it has.

    Returns:
        What is wrong and what to do; None if they are few enough.
    """
    if len(skipped) <= MAX_SKIPPED * total:
        return None
    return (
        f'{len(skipped)} of the {total} images could not be read, more than {MAX_SKIPPED:.0%}: '
        f'{some(skipped)}. Get them again, then {RETRY}; the embeddings of the others are kept.'
    )


def _read_part(path: Path) -> dict[str, str]:
    remedy = f'It lists images that could not be read; to have them tried once more, {RETRY}.'
    return dict(read_lines(path, lambda key, reason: (key, reason), remedy))


def _path(folder: Path, rank: int) -> Path:
    return folder / f'skipped-rank{rank:05d}.jsonl'
