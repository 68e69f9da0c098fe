"""A list of images kept in columns: all of SA-1B as dicts would take gigabytes in every process."""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """A folder or a tar: what stands in front of its images' names in their paths and keys."""

    path: str
    prefix: str
    archive: str | None = None


@dataclass(frozen=True, eq=False)
class ImageTable(Sequence[dict[str, Any]]):
    """Images in an order, made into dicts one at a time.

    An image is a dict with ``img_path``, ``img_key``, and in a tar ``shard``, with the archive's
    ``path`` and the image's ``offset`` and ``size``.

    Attributes:
        places: Where images lie.
        keys: (N,) the images' keys, encoded.
        place: (N,) in which of the places each lies.
        offsets: (N,) where each begins in its tar.
        sizes: (N,) bytes of each in its tar.
    """

    places: tuple[Place, ...]
    keys: NDArray[np.bytes_]
    place: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    _order: dict[int, NDArray[np.integer]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        place: Place,
        names: Sequence[str],
        offsets: Sequence[int] | None = None,
        sizes: Sequence[int] | None = None,
    ) -> 'ImageTable':
        """Make the table of a folder, or of a tar with offsets and sizes; names in any order."""
        # As the file system's names are encoded.
        keys = [f'{place.prefix}{name}'.encode('utf-8', 'surrogateescape') for name in names]
        none = np.zeros(len(names), np.int64)
        starts, lengths = (
            none if column is None else np.array(column, np.int64) for column in (offsets, sizes)
        )
        return cls((place,), np.array(keys, np.bytes_), none.astype(np.uint32), starts, lengths)

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """Keys, place, offsets and sizes."""
        return self.keys, self.place, self.offsets, self.sizes

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: Any) -> Any:
        place = self.places[self.place[index]]
        key = self.keys[index].decode('utf-8', 'surrogateescape')
        image: dict[str, Any] = dict(img_path=place.path + key[len(place.prefix) :], img_key=key)
        if place.archive is not None:
            offset, size = int(self.offsets[index]), int(self.sizes[index])
            image['shard'] = dict(path=place.archive, offset=offset, size=size)
        return image

    def take(self, rows: NDArray[Any]) -> 'ImageTable':
        """Some of the images, by positions (M,) or a mask (N,)."""
        return ImageTable(self.places, *(column[rows] for column in self.columns))

    def shuffled(self, seed: int) -> NDArray[np.integer]:
        """Positions (N,) ordered by a hash of seed and key, so that others do not move an image."""
        if seed not in self._order:
            start = f'{seed}/'.encode()
            # The first 8 of SHA-1's 20 bytes: among 1e7 images, two are alike once in 300,000 data
            # sets, and then their place in the table decides.
            digests = (hashlib.sha1(start + bytes(key)).digest()[:8] for key in self.keys)
            hashes = np.fromiter(digests, np.dtype(('S', 8)), len(self))
            order = np.argsort(hashes.view('>u8').astype(np.uint64), kind='stable')
            self._order[seed] = order.astype(np.uint32)
        return self._order[seed]


_recent: deque[ImageTable] = deque(maxlen=2)


def sorted_table(tables: Sequence[ImageTable]) -> ImageTable:
    """Sort images by key; of those with one key the first stays.

    Equal tables are one and the same, so that the parts of a data set share its memory.
    """
    table = _concatenated(tables)
    order = np.argsort(table.keys, kind='stable')
    keys = table.keys[order]
    table = table.take(order[np.r_[True, keys[1:] != keys[:-1]]])
    for known in _recent:
        pairs = zip(known.columns, table.columns, strict=True)
        if known.places == table.places and all(np.array_equal(*pair) for pair in pairs):
            return known
    _recent.append(table)
    return table


def joined_table(tables: Sequence[ImageTable]) -> ImageTable:
    """Join the tables of several roots, one behind the other.

    Two files of one key are two images, of which the second gets the number of its root in front of
    its key. An image in a tar that is there as a file, too, counts once, as the file.
    """
    if len(tables) == 1:
        return tables[0]
    joined = _concatenated(tables)
    root = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    archived = np.array([place.archive is not None for place in joined.places])[joined.place]
    by_key = np.argsort(joined.keys, kind='stable')
    equal = joined.keys[by_key][1:] == joined.keys[by_key][:-1]
    rows, kept = np.arange(len(joined)), np.ones(len(joined), bool)
    known: dict[bytes, int] = {}
    renamed: list[int] = []
    for row in np.sort(by_key[np.r_[False, equal] | np.r_[equal, False]]).tolist():
        first = known.setdefault(joined.keys[row], row)
        if first == row:
            continue
        if archived[row]:
            kept[row] = False
        elif archived[first]:
            rows[first], archived[first], kept[row] = row, False, False
        else:
            renamed.append(row)
    places, keys, place = list(joined.places), joined.keys, joined.place
    if renamed:
        keys = keys.astype(f'S{keys.itemsize + len(f"{len(tables)}:")}')
    for old in np.unique(joined.place[renamed]):
        own = np.array([row for row in renamed if joined.place[row] == old])
        start = f'{root[own[0]]}:'
        keys[own] = np.char.add(start.encode(), keys[own])
        place[own] = len(places)
        places.append(Place(places[old].path, start + places[old].prefix))
    joined = ImageTable(tuple(places), keys, place, joined.offsets, joined.sizes)
    return joined.take(rows[kept])


def _concatenated(tables: Sequence[ImageTable]) -> ImageTable:
    starts = np.cumsum([0, *(len(table.places) for table in tables)]).astype(np.uint32)
    keys, _, offsets, sizes = map(
        np.concatenate, zip(*(table.columns for table in tables), strict=True)
    )
    place = [table.place + start for table, start in zip(tables, starts, strict=False)]
    places = tuple(place for table in tables for place in table.places)
    return ImageTable(places, keys, np.concatenate(place), offsets, sizes)
