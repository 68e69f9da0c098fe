"""A list of images kept in columns: all of SA-1B as dicts would take gigabytes in every process."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

# Keys that are hashed at a time.
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class ImageGroup:
    """Images of a folder or a tar whose paths and keys begin alike.

    Attributes:
        folder: What stands in front of the names in the images' paths.
        prefix: What stands in front of them in the images' keys.
        names: (N,) names, encoded.
        archive: The tar in which they lie, None for files.
        offsets: (N,) where each begins in the tar; empty for files.
        sizes: (N,) bytes of each in the tar; empty for files.
    """

    folder: str
    prefix: str
    names: NDArray[np.bytes_]
    archive: str | None
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @staticmethod
    def of(
        folder: str,
        prefix: str,
        names: Sequence[str],
        archive: str | None = None,
        offsets: Sequence[int] = (),
        sizes: Sequence[int] = (),
    ) -> 'ImageGroup':
        """Make a group, sorted by name.

        Args:
            folder: See the attributes.
            prefix: See the attributes.
            names: (N,) in any order.
            archive: See the attributes.
            offsets: (N,) or empty.
            sizes: (N,) or empty.
        """
        encoded = np.array([_encoded(name) for name in names], np.bytes_)
        order = np.argsort(encoded, kind='stable')
        starts, lengths = (np.array(column, np.int64) for column in (offsets, sizes))
        if archive is not None:
            starts, lengths = starts[order], lengths[order]
        return ImageGroup(folder, prefix, encoded[order], archive, starts, lengths)

    def keys(self) -> NDArray[np.bytes_]:
        """The images' keys, (N,), encoded."""
        return np.char.add(_encoded(self.prefix), self.names)

    def take(self, rows: NDArray[np.int64], prefix: str) -> 'ImageGroup':
        """Some of the images, with keys that begin otherwise.

        Args:
            rows: Which, (M,).
            prefix: What stands in front of the names in the keys.
        """
        offsets, sizes = self.offsets, self.sizes
        if self.archive is not None:
            offsets, sizes = offsets[rows], sizes[rows]
        return ImageGroup(self.folder, prefix, self.names[rows], self.archive, offsets, sizes)

    def image(self, row: int) -> dict[str, Any]:
        """One of the images, as `ImageTable` gives it."""
        name = _decoded(self.names[row])
        image: dict[str, Any] = dict(img_path=self.folder + name, img_key=self.prefix + name)
        if self.archive is not None:
            offset, size = int(self.offsets[row]), int(self.sizes[row])
            image['shard'] = dict(path=self.archive, offset=offset, size=size)
        return image

    def __len__(self) -> int:
        return len(self.names)

    # Equal groups of two listings let them share their table.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageGroup):
            return NotImplemented
        return (
            (self.folder, self.prefix, self.archive) == (other.folder, other.prefix, other.archive)
            and np.array_equal(self.names, other.names)
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.sizes, other.sizes)
        )

    def __hash__(self) -> int:
        return hash((self.folder, self.prefix, self.archive, len(self)))


class ImageTable(Sequence[dict[str, Any]]):
    """Images in an order, made into dicts one at a time.

    An image is a dict with ``img_path``, ``img_key``, and in a tar ``shard``, with the archive's
    ``path`` and the image's ``offset`` and ``size``.

    Args:
        groups: The images.
        rows: (N,) which of them, counted through all groups, stand where.
    """

    def __init__(self, groups: Sequence[ImageGroup], rows: NDArray[np.integer]) -> None:
        self.groups = tuple(groups)
        self.rows = rows
        self._ends = np.cumsum([len(group) for group in self.groups], dtype=np.int64)
        self._order: dict[int, NDArray[np.integer]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> 'ImageTable': ...

    def __getitem__(self, index: int | slice) -> 'dict[str, Any] | ImageTable':
        if isinstance(index, slice):
            return ImageTable(self.groups, self.rows[index])
        row = self.rows[index]
        group = int(np.searchsorted(self._ends, row, side='right'))
        return self.groups[group].image(int(row - self._ends[group] + len(self.groups[group])))

    def keys(self) -> NDArray[np.bytes_]:
        """The images' keys in their order, (N,), encoded."""
        return _keys(self.groups)[self.rows]

    def in_archives(self) -> NDArray[np.bool_]:
        """Of each image, (N,), whether it lies in a tar."""
        inside = [np.full(len(group), group.archive is not None) for group in self.groups]
        return np.concatenate(inside)[self.rows]

    def shuffled(self, seed: int) -> NDArray[np.integer]:
        """Order the images by a hash of their keys.

        The order of two images depends on nothing but their keys and the seed.

        Args:
            seed: Another one gives another order.

        Returns:
            (N,) positions in the table.
        """
        if seed not in self._order:
            # The first 8 of SHA-1's 20 bytes: among 1e7 images, two are alike once in 300,000 data
            # sets, and then their place in the table decides.
            hashes = np.fromiter(self._hashes(seed), np.dtype(('S', 8)), len(self))
            order = np.argsort(hashes.view('>u8').astype(np.uint64), kind='stable')
            self._order[seed] = _small(order)
        return self._order[seed]

    def _hashes(self, seed: int) -> Iterator[bytes]:
        start = f'{seed}/'.encode()
        keys = self.keys()
        for first in range(0, len(keys), _CHUNK):
            for key in keys[first : first + _CHUNK].tolist():
                yield hashlib.sha1(start + key).digest()[:8]


@lru_cache(maxsize=2)
def sorted_table(groups: tuple[ImageGroup, ...]) -> ImageTable:
    """Sort images by key; of those with one key the first stays.

    Equal groups give the same table, so that the parts of a data set share its memory.

    Args:
        groups: The images.
    """
    keys = _keys(groups)
    if (keys[1:] > keys[:-1]).all():
        return ImageTable(groups, _small(np.arange(len(keys))))
    order = np.argsort(keys, kind='stable')
    keys = keys[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    return ImageTable(groups, _small(order[first]))


def joined_table(tables: Sequence[ImageTable]) -> ImageTable:
    """Join the tables of several roots, one behind the other.

    Two files of one key are two images, of which the second gets the number of its root in front of
    its key. An image in a tar that is there as a file, too, counts once, as the file.

    Args:
        tables: At least one.
    """
    if len(tables) == 1:
        return tables[0]
    groups = [group for table in tables for group in table.groups]
    sizes = [sum(map(len, table.groups)) for table in tables]
    starts = np.cumsum([0, *sizes[:-1]])
    rows = np.concatenate([t.rows + start for t, start in zip(tables, starts, strict=True)])
    root = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    joined = ImageTable(groups, rows)
    keys, archived = joined.keys(), joined.in_archives()
    by_key = np.argsort(keys, kind='stable')
    alike = np.zeros(len(keys) + 1, bool)
    alike[1:-1] = keys[by_key][1:] == keys[by_key][:-1]
    known: dict[bytes, int] = {}
    dropped: list[int] = []
    renamed: list[int] = []
    for place in np.sort(by_key[alike[1:] | alike[:-1]]).tolist():
        first = known.setdefault(keys[place], place)
        if first == place:
            continue
        if archived[place]:
            dropped.append(place)
        elif archived[first]:
            rows[first], archived[first] = rows[place], False
            dropped.append(place)
        else:
            renamed.append(place)
    total = sum(sizes)
    for place in renamed:
        group = int(np.searchsorted(joined._ends, rows[place], side='right'))
        row = rows[place] - joined._ends[group] + len(groups[group])
        prefix = f'{root[place]}:{groups[group].prefix}'
        groups.append(groups[group].take(np.array([row]), prefix))
        rows[place], total = total, total + 1
    return ImageTable(groups, np.delete(rows, dropped))


def _keys(groups: Sequence[ImageGroup]) -> NDArray[np.bytes_]:
    return np.concatenate([group.keys() for group in groups])


def _small(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    return numbers.astype(np.uint32) if len(numbers) < 1 << 32 else numbers


def _encoded(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')  # as the file system's names


def _decoded(text: bytes) -> str:
    return text.decode('utf-8', 'surrogateescape')
