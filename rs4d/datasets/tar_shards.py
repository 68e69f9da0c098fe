"""Images inside of tar archives, read where they lie.

A shard is indexed once, by the standard library's ``tarfile``; the index lies beside it, or in the
user's cache folder where that is read-only, and holds as long as the shard's size and time do.
"""

import hashlib
import json
import os
import posixpath
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from mmengine.logging import print_log

from rs4d.files import write_text

_FORMAT = 5
_BLOCK = 512
_CHUNK = 1 << 20
COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.tar.zst', '.zip')
"""Endings of archives whose files cannot be read where they lie."""
_MAGIC = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd', b'PK\x03\x04')


@dataclass
class ShardIndex:
    """What lies in a tar.

    Attributes:
        files: From its files' names in the archive's order, without a leading ``./``, to where the
            bytes of each begin in the archive, and how many there are.
        damage: What is wrong with the archive, in words; empty if nothing is.
        lost: Names of files that are there and cannot be read.
        unread: Bytes behind the damage, in which there may be files whose names are not known.
    """

    files: dict[str, list[int]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unread: int = 0


def index_shard(path: str | os.PathLike[str]) -> ShardIndex:
    """List the files in an uncompressed tar, from an earlier index if there is one that still holds.

    Of an archive that is cut off, the index has what is whole.
    """
    shard = Path(path)
    status = shard.stat()
    stamp = [_FORMAT, status.st_size, status.st_mtime_ns]
    name = f'{shard.name}.index.json'
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'rs4d', 'shards')
    key = hashlib.sha1(os.fsencode(shard.resolve())).hexdigest()[:16]
    places = [shard.with_name(name), cache / f'{key}_{name}']
    for place in places:
        try:
            content = json.loads(place.read_text(encoding='utf-8'))
            if content['stamp'] == stamp:
                return ShardIndex(**content['index'])
        except (OSError, ValueError, TypeError, LookupError):
            continue  # none, or not a whole one
    index = _scan(shard, status.st_size)
    for place in places:
        try:
            write_text(place, json.dumps(dict(stamp=stamp, index=asdict(index))))
        except OSError:
            continue  # read-only: the next place
        return index
    print_log(
        f"The index of '{shard}' can be written neither beside it nor to '{cache}'.", 'current'
    )
    return index


def is_compressed(path: str | os.PathLike[str]) -> bool:
    """Whether an archive is compressed, whatever it is called."""
    if str(path).lower().endswith(COMPRESSED):
        return True
    try:
        return read_range(path, 0, 6).startswith(_MAGIC)
    except OSError:
        return False


def read_range(path: str | os.PathLike[str], offset: int, size: int) -> bytes:
    """Read a part of a file, less where the file ends before."""
    with open(path, 'rb') as file:
        file.seek(offset)
        return file.read(size)


def _scan(shard: Path, size: int) -> ShardIndex:
    """List a tar, and further ones that were written behind its end."""
    links: dict[str, str] = {}
    index = ShardIndex()
    files = index.files
    start: int | None = 0
    end = 0
    with open(shard, 'rb') as file:
        while start is not None and not index.damage:
            end = start
            file.seek(start)
            try:
                with tarfile.open(fileobj=file, mode='r:') as archive:
                    while not index.damage and (member := archive.next()) is not None:
                        end = archive.offset
                        _add(member, size, links, index)
            except tarfile.ReadError as error:
                index.damage.append(f'{error} behind {next(reversed(files), "its beginning")}')
            file.seek(end)
            if not index.damage and file.read(_BLOCK) != bytes(_BLOCK):
                # tarfile takes a broken header, and a file cut off between members, for the end.
                last = next(reversed(files), 'its beginning')
                index.damage.append(f'nothing can be read behind {last}, but it does not end there')
            start = _next_archive(file, end)
    index.unread = max(size - end, 0) if index.damage else 0
    for name in links.keys() - files.keys():
        target, passed = name, set()
        while target in links and target not in passed:
            passed.add(target)
            target = links[target]
        if target in files:
            files[name] = files[target]
        else:
            index.lost.append(name)
            index.damage.append(f'{name} is a link to {links[name]}, which is not in it')
    return index


def _add(member: tarfile.TarInfo, size: int, links: dict[str, str], index: ShardIndex) -> None:
    """Take up a member; of those with the same name the last one counts, as when extracted."""
    name = posixpath.normpath(member.name)
    if member.issym():
        links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
    elif member.islnk():
        links[name] = posixpath.normpath(member.linkname)
    elif member.issparse() or (member.isfile() and member.offset_data + member.size > size):
        index.damage.append(f'{name} is {"stored with holes" if member.issparse() else "cut off"}')
        index.lost.append(name)
    elif member.isfile():
        index.files.pop(name, None)
        index.files[name] = [member.offset_data, member.size]


def _next_archive(file: BinaryIO, end: int) -> int | None:
    """Where something follows the zeros at the end of an archive; None if nothing does."""
    file.seek(end)
    while chunk := file.read(_CHUNK):
        zeros = len(chunk) - len(chunk.lstrip(b'\0'))
        if zeros < len(chunk):
            return (end + zeros) // _BLOCK * _BLOCK
        end += len(chunk)
    return None
