"""Images inside of tar archives, read where they lie.

A shard is indexed once, by the standard library's ``tarfile``; the index lies beside it, or in the
user's cache folder where that is read-only, and holds as long as the shard's size and time do.
"""

import hashlib
import json
import os
import tarfile
from collections import OrderedDict
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from mmengine.logging import print_log

_FORMAT = 2
_BLOCK = 512


@dataclass(frozen=True)
class ShardIndex:
    """What lies in a tar, in columns: a data set has millions of members.

    Attributes:
        names: Its files' names in the archive's order, without a leading ``./``.
        offsets: Where the bytes of each begin in the archive.
        sizes: How many there are.
        damage: What is wrong with the archive, in words; empty if nothing is.
        lost: Names of files that are not whole.
        unread: Bytes behind the damage, in which there may be files whose names are not known.
    """

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unread: int = 0

    def __len__(self) -> int:
        return len(self.names)


def index_shard(path: str | os.PathLike[str]) -> ShardIndex:
    """List the files in a tar, from an earlier index if there is one that still holds.

    Args:
        path: The archive, uncompressed.

    Returns:
        The index. Of an archive that is cut off, it has what is whole.
    """
    shard = Path(path)
    status = shard.stat()
    stamp = dict(format=_FORMAT, size=status.st_size, mtime_ns=status.st_mtime_ns)
    places = _index_places(shard)
    for place in places:
        found = _read_index(place, stamp)
        if found is not None:
            return found
    index = _scan(shard, status.st_size)
    content = dict(stamp, **asdict(index))
    for place in places:
        try:
            _write_whole(place, json.dumps(content))
        except OSError:
            continue  # read-only: the next place
        return index
    print_log(
        f"The index of '{shard}' can be written neither beside it nor to '{places[-1].parent}', so "
        'it will be made again by the next run.',
        logger='current',
        level=30,
    )
    return index


def read_range(path: str | os.PathLike[str], offset: int, size: int) -> bytes:
    """Read a part of a file.

    Args:
        path: The file.
        offset: Where it begins.
        size: How many bytes.

    Returns:
        The bytes, fewer where the file ends before.
    """
    with open(path, 'rb') as file:
        file.seek(offset)
        return file.read(size)


class ShardReader:
    """Reads members of tars, keeping the last few archives open.

    Files are opened by the process that reads, so that it can be handed to workers; reads do not
    move a shared position, so that threads and forked processes do not disturb each other.

    Args:
        max_open: Archives open at a time.
    """

    def __init__(self, max_open: int = 16) -> None:
        self.max_open = max_open
        self._files: OrderedDict[str, int] = OrderedDict()

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Read a member's bytes; fewer where the archive ends before.

        Raises:
            OSError: The archive cannot be read.
        """
        if not hasattr(os, 'pread'):
            return read_range(path, offset, size)
        file = self._files.pop(path, None)
        if file is None:
            file = os.open(path, os.O_RDONLY)
        self._files[path] = file
        while len(self._files) > self.max_open:
            os.close(self._files.popitem(last=False)[1])
        return os.pread(file, size, offset)

    def close(self) -> None:
        """Close the archives that are open."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay where they are."""
        return dict(max_open=self.max_open, _files=OrderedDict())

    def __del__(self) -> None:
        """Close the archives that are open."""
        self.close()


def _scan(shard: Path, size: int) -> ShardIndex:
    names: list[str] = []
    offsets: list[int] = []
    sizes: list[int] = []
    damage: list[str] = []
    lost: list[str] = []
    end = 0
    try:
        with tarfile.open(shard, mode='r:') as archive:
            while (member := archive.next()) is not None:
                end = archive.offset
                if not member.isfile():
                    continue
                name = member.name.removeprefix('./')
                if member.offset_data + member.size > size:
                    damage.append(f'{name} is cut off')
                    lost.append(name)
                    break
                names.append(name)
                offsets.append(member.offset_data)
                sizes.append(member.size)
    except tarfile.ReadError as error:
        damage.append(f'{error} behind {names[-1] if names else "its beginning"}')
    if not damage and not _ends(shard, end):
        # tarfile takes a broken header, and a file cut off between members, for the end.
        last = names[-1] if names else 'its beginning'
        damage.append(f'nothing can be read behind {last}, where the archive does not end')
    unread = max(size - end, 0) if damage else 0
    return ShardIndex(names, offsets, sizes, damage, lost, unread)


def _ends(shard: Path, offset: int) -> bool:
    """Whether a tar's mark of the end, zeros, stands at a place."""
    mark = read_range(shard, offset, _BLOCK)
    return len(mark) == _BLOCK and not mark.strip(b'\0')


def _index_places(shard: Path) -> list[Path]:
    """Where an index may lie: beside the shard, and in the user's cache folder."""
    name = f'{shard.name}.index.json'
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    key = hashlib.sha1(os.fsencode(shard.resolve())).hexdigest()[:16]
    return [shard.with_name(name), cache / 'rs4d' / 'shards' / f'{key}_{name}']


def _read_index(place: Path, stamp: dict[str, int]) -> ShardIndex | None:
    try:
        content = json.loads(place.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None  # none, or not a whole one
    if not isinstance(content, dict) or any(content.get(k) != v for k, v in stamp.items()):
        return None
    return ShardIndex(**{column.name: content[column.name] for column in fields(ShardIndex)})


def _write_whole(place: Path, text: str) -> None:
    """Write a file so that others see all of it or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = ''
    try:
        with NamedTemporaryFile('w', dir=place.parent, suffix='.part', delete=False) as file:
            part = file.name
            file.write(text)
        os.chmod(part, 0o644)
        os.replace(part, place)
    except OSError:
        if part:
            Path(part).unlink(missing_ok=True)  # of a full disk
        raise
