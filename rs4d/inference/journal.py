"""What has been found, kept on disk tile by tile, so that a kill costs a batch at most."""

import base64
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rs4d.errors import UserError
from rs4d.files import FileWriteError

from .pieces import Piece

_HEAD = struct.Struct('<4sII')
_MAGIC = b'RS4J'


class JournalError(UserError, ValueError):
    """A journal is of another scene, model or setting."""


@dataclass(frozen=True)
class Entry:
    """A batch of tiles that are done.

    Attributes:
        tiles: Their numbers, those without data among them.
        pieces: What they show.
        empty: How many were without data.
        full: Those that show as many objects as the model gives at most, and so perhaps more.
    """

    tiles: Sequence[int]
    pieces: Sequence[Piece]
    empty: int = 0
    full: Sequence[int] = ()


class Journal:
    """Batches of one scene that one process has done, in a file that only grows.

    A record is a length, a checksum and compressed JSON; each is on the disk before the next batch is
    computed. One that a kill has torn is dropped, and its batch computed again.

    Args:
        path: The file; made with its folder if it is not there.
        settings: All that decides what is found. Another run's journal is refused.

    Attributes:
        done: Tiles that were in it when it was opened.

    Raises:
        JournalError: The file is of other settings.
        FileWriteError: It cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._settings = json.loads(json.dumps(settings))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Without a buffer, for what a full disk has not taken would be tried again in closing.
            self._file = open(self.path, 'ab', buffering=0)  # noqa: SIM115 - closed by `close`
            end = _good_end(self.path)
            # What was torn goes, so that what follows can be read.
            self._file.truncate(end)
            if end == 0:
                self._append(self._settings)
        except OSError as error:
            if isinstance(error, UserError):
                raise
            raise self._failure(error) from error
        require_settings(self.path, self._settings)
        self.done = {tile for entry in read_entries(self.path) for tile in entry.tiles}

    def add(self, entry: Entry) -> None:
        """Note a batch; it is on the disk when this returns.

        Raises:
            FileWriteError: It cannot be written, for example because the disk is full.
        """
        pieces = [
            [
                piece.tile,
                piece.label,
                piece.score,
                piece.cut,
                piece.own,
                base64.b64encode(piece.packed).decode('ascii'),
            ]
            for piece in entry.pieces
        ]
        content = dict(
            tiles=list(entry.tiles), empty=entry.empty, full=list(entry.full), pieces=pieces
        )
        try:
            self._append(content)
        except OSError as error:
            raise self._failure(error) from error

    def _append(self, content: Any) -> None:
        data = zlib.compress(json.dumps(content).encode(), 6)
        left = memoryview(_HEAD.pack(_MAGIC, len(data), zlib.crc32(data)) + data)
        while left:
            left = left[self._file.write(left) :]
        os.fsync(self._file.fileno())

    def _failure(self, error: OSError) -> FileWriteError:
        return FileWriteError(
            f"'{self.path}' could not be written: {error.strerror or error}. Free some space or "
            'choose another place; what was found is kept, and the same command goes on.'
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> 'Journal':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def is_begun(path: str | os.PathLike[str]) -> bool:
    """Whether a journal says of which settings it is; one that a kill has stopped before does not."""
    return next(_records(Path(path)), None) is not None


def require_settings(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Raise unless a journal is of these settings.

    Raises:
        JournalError: It differs, and in what.
    """
    noted: dict[str, Any] = next((content for content, _ in _records(Path(path))), {})
    wanted = json.loads(json.dumps(settings))
    changed = [
        f'{key} was {noted.get(key)!r} and is {wanted.get(key)!r}'
        for key in sorted({*noted, *wanted})
        if noted.get(key) != wanted.get(key)
    ]
    if changed:
        raise JournalError(
            f"'{path}' is of an earlier prediction with other settings: {'; '.join(changed)}. Give "
            'the same ones to go on or another --out, or remove its folder to start anew '
            '(--overwrite, of one process).'
        )


def read_entries(path: str | os.PathLike[str]) -> Iterator[Entry]:
    """Read the batches of a journal, one at a time; a torn last record is left out."""
    records = _records(Path(path))
    next(records, None)
    for content, _ in records:
        pieces = [
            Piece(tile, label, score, base64.b64decode(packed), cut, own)
            for tile, label, score, cut, own, packed in content['pieces']
        ]
        yield Entry(content['tiles'], pieces, content['empty'], content['full'])


def _good_end(path: Path) -> int:
    """How many bytes of a journal are whole."""
    return max((end for _, end in _records(path)), default=0)


def _records(path: Path) -> Iterator[tuple[Any, int]]:
    """Contents of whole records, and where each ends."""
    with open(path, 'rb') as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, length, checksum = _HEAD.unpack(head)
            data = file.read(length) if magic == _MAGIC else b''
            if len(data) < length or magic != _MAGIC or zlib.crc32(data) != checksum:
                return
            yield json.loads(zlib.decompress(data)), file.tell()
