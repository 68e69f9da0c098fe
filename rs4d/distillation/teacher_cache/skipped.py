"""Images that could not be read when a cache was made: one line of JSON each, one file a rank.

They are known as such to whoever verifies, continues or reads the cache. Deleting the files has them
tried again.
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from .errors import TeacherCacheError
from .index import write_whole

# Of a data set's images, how many may be unreadable.
MAX_SKIPPED = 0.01
_PATTERN = 'skipped-rank*.jsonl'
_RETRY = f'delete {_PATTERN} in the cache and start tools/cache_teacher.py again'


def skipped_path(folder: Path, rank: int) -> Path:
    """Where a rank notes the images that it could not read."""
    return folder / f'skipped-rank{rank:05d}.jsonl'


def append_skipped(folder: Path, rank: int, key: str, reason: str) -> None:
    """Note an image, and wait until that is on the disk.

    Args:
        folder: The cache.
        rank: The rank.
        key: The image's name.
        reason: Why it could not be read.
    """
    with skipped_path(folder, rank).open('a') as file:
        file.write(_line(key, reason))
        file.flush()
        os.fsync(file.fileno())


def read_skipped(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Read which images all ranks have skipped.

    Args:
        folder: The cache.

    Returns:
        From their keys to the reasons; empty also if there is no cache yet.

    Raises:
        TeacherCacheError: A line is damaged.
    """
    skipped: dict[str, str] = {}
    for path in sorted(Path(folder).glob(_PATTERN)):
        skipped |= _read_part(path)
    return skipped


def repair_skipped(folder: Path, rank: int) -> None:
    """Remove a last line that a kill cut off, so that more can be added.

    Args:
        folder: The cache.
        rank: The rank; no other process may be writing for it.
    """
    path = skipped_path(folder, rank)
    if path.exists() and not path.read_bytes().endswith(b'\n'):
        lines = [_line(key, reason) for key, reason in _read_part(path).items()]
        write_whole(path, ''.join(lines).encode())


def too_many_skipped(skipped: Mapping[str, str], total: int) -> str | None:
    """Say that more images could not be read than a data set may have of such.

    Args:
        skipped: From keys to reasons, of the data set's images alone.
        total: How many images it has.

    Returns:
        What is wrong and what to do, in two sentences; None if they are few enough.
    """
    if len(skipped) <= MAX_SKIPPED * total:
        return None
    return (
        f'{len(skipped)} of the {total} images could not be read, more than {MAX_SKIPPED:.0%}: '
        f'{some_names(skipped)}. Get them again, then {_RETRY}; the embeddings of the others are '
        'kept.'
    )


def some_names(keys: Collection[str], count: int = 5) -> str:
    """Name a few images of many."""
    more = f' and {len(keys) - count} others' if len(keys) > count else ''
    return ', '.join(list(keys)[:count]) + more


def _read_part(path: Path) -> dict[str, str]:
    skipped = {}
    with path.open() as file:
        for number, line in enumerate(file, 1):
            # A last line without an end is being written, or a kill cut it off.
            if not line.endswith('\n'):
                break
            try:
                entry = json.loads(line)
                skipped[entry['key']] = entry['reason']
            except (ValueError, TypeError, KeyError) as error:
                raise TeacherCacheError(
                    f"Line {number} of '{path}' is damaged ({error!r}). It lists images that could "
                    'not be read; delete the file and start tools/cache_teacher.py again, which '
                    'tries them once more.'
                ) from error
    return skipped


def _line(key: str, reason: str) -> str:
    return json.dumps(dict(key=key, reason=reason)) + '\n'
