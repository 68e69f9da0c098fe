"""Which images lie below a folder, as files and inside of tar shards."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from .broken_images import warn
from .checks import require_folder
from .errors import DatasetNotFoundError
from .image_table import ImageTable, Place, sorted_table
from .report import WARNING, Finding
from .tar_shards import COMPRESSED, index_shard, is_compressed

_PROGRESS_SECONDS = 15.0
# What systems and tools put beside one's files; so do all names that begin with a dot.
_FOREIGN = {'#recycle', '$RECYCLE.BIN', '@eaDir', '@Recycle', '__MACOSX', 'lost+found'}
_REMEDY = (
    'Set data_root to a folder of images, nested or not, in the config or by --cfg-options '
    'data_root=DIR, or RS4D_DATA_ROOT to the folder above it. SA-1B is read as shards, '
    'SA1B/sa_000000.tar as they are published or SA1B/sa_000000/sa_*.jpg extracted; data/README.md '
    'says where it comes from.'
)
_ARCHIVES = ('.tar', *COMPRESSED)
_UNPACK = (
    'Compressed archives are not read. Make tars of them, such as by gunzip or unzstd, or extract '
    'them; take away those that are there otherwise, too.'
)


def is_foreign(path: str) -> bool:
    """Whether a file below a data set's folder is the system's or a tool's, such as ``._a.jpg``."""
    return any(
        part in _FOREIGN or (part.startswith('.') and part not in ('.', '..'))
        for part in Path(path).parts
    )


@dataclass
class Losses:
    """What the damage of tars has cost.

    Attributes:
        damaged: Tars, each with what is wrong.
        count: About how many images are lost.
        compressed: Archives that are compressed and are not read.
    """

    damaged: list[str] = field(default_factory=list)
    count: int = 0
    compressed: list[str] = field(default_factory=list)

    def findings(self, subset: str) -> list[Finding]:
        """What the check of a data set of that name says."""
        damage = (
            f'About {self.count} images in them are lost and the run goes on without them. Get the '
            'tars again.'
        )
        kinds = [
            ('damaged tars', damage, self.damaged),
            ('compressed archives', _UNPACK, self.compressed),
        ]
        return [Finding(WARNING, x, subset, len(y), text, y[:5]) for x, text, y in kinds if y]


def list_images(
    root: str | os.PathLike[str],
    extensions: Sequence[str],
    shards: Iterable[str] | None = None,
    losses: Losses | None = None,
) -> ImageTable:
    """List the images below a folder, those in tars included.

    Images are sorted by ``img_key``; one that lies in a tar and also extracted is the file.

    Args:
        root: The folder; links in it are followed.
        extensions: File name endings, in lower case, that count.
        shards: Names of folders or archives directly below the root; only these are looked at.
        losses: Damage of tars is added to it, beside being logged.

    Raises:
        DatasetNotFoundError: The folder or a shard is missing, or has no such file.
    """
    require_folder(root, 'data root', _REMEDY)
    losses = Losses() if losses is None else losses
    top = Path(root)
    endings = tuple(extensions)
    files: list[ImageTable] = []
    archives: set[str] = set()
    for folder, names in _folders(top, shards):
        archives |= {os.path.join(folder, x) for x in names if x.lower().endswith(_ARCHIVES)}
        images = [name for name in names if name.lower().endswith(endings)]
        if images:
            key = Path(os.path.relpath(folder, top)).as_posix()
            prefix = '' if key == '.' else f'{key}/'
            files.append(ImageTable.of(Place(os.path.join(folder, ''), prefix), images))
    compressed = sorted(archive for archive in archives if is_compressed(archive))
    if compressed:
        losses.compressed += compressed
        warn(f"In '{root}': {', '.join(compressed)}. {_UNPACK}")
    # Of what is there twice, files come first.
    tables = [*files, *_tables_of_tars(sorted(archives - {*compressed}), top, endings, losses)]
    if not tables:
        raise DatasetNotFoundError(
            f"The data root '{root}' has no file ending in {', '.join(extensions)}, nor has a tar "
            f'in it{", but compressed archives, which are not read" if compressed else ""}. {_REMEDY}'
        )
    return sorted_table(tables)


def read_shard_list(shards: str | Sequence[str] | None) -> list[str] | None:
    """Return names of shards without ``.tar``, from a list or a text file with one a line.

    Raises:
        DatasetNotFoundError: The text file is not there.
    """
    if shards is None:
        return None
    if isinstance(shards, str):
        if not Path(shards).is_file():
            raise DatasetNotFoundError(
                f"The list of shards '{shards}' does not exist. Give a text file with a name such as "
                "sa_000000 a line, or a list: shards=['sa_000000']."
            )
        shards = Path(shards).read_text(encoding='utf-8').split()
    return [name.removesuffix('.tar') for name in shards]


def _folders(top: Path, shards: Iterable[str] | None) -> Iterator[tuple[str, list[str]]]:
    """Walk the root, or what is of the shards wanted, through links but into each folder once."""
    starts = [top] if shards is None else []
    for name in shards or ():
        places = [top / f'{name}{ending}' for ending in ('', *_ARCHIVES)]
        if not any(place.exists() for place in places):
            raise DatasetNotFoundError(
                f"The shard '{name}' is neither a folder nor a tar in '{top}'. Correct shards=, or "
                'get the shard.'
            )
        yield str(top), [os.path.relpath(place, top) for place in places if place.is_file()]
        starts += [place for place in places if place.is_dir()]
    seen: set[str] = set()
    for start in starts:
        for folder, folders, names in os.walk(start, followlinks=True):
            folders[:] = sorted(name for name in folders if not is_foreign(name))
            if os.path.realpath(folder) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(folder))
            yield folder, [name for name in names if not is_foreign(name)]


class _TarContent(NamedTuple):
    """The whole images of a tar, what is wrong with it, and about how many images that costs."""

    tables: list[ImageTable]
    damage: str
    lost: int


def _tables_of_tars(
    tars: Sequence[str], top: Path, endings: tuple[str, ...], losses: Losses
) -> list[ImageTable]:
    # Ranks begin at different tars, so that each finds those indexed that others have begun with.
    first = len(tars) * get_rank() // get_world_size()
    found: dict[str, _TarContent] = {}
    shown = time.monotonic()
    for number, tar in enumerate([*tars[first:], *tars[:first]], 1):
        try:
            status = os.stat(tar)
            found[tar] = _tar_content(tar, top, endings, status.st_size, status.st_mtime_ns)
        except OSError as error:
            found[tar] = _TarContent([], f'it cannot be read ({error.strerror})', 0)
        if time.monotonic() - shown >= _PROGRESS_SECONDS and number < len(tars):
            shown = time.monotonic()
            print_log(f"{number} of {len(tars)} tars in '{top}' are indexed.", logger='current')
    for tar in tars:
        tables, damage, lost = found[tar]
        if damage:
            warn(
                f"The shard '{tar}' is damaged: {damage}. {sum(map(len, tables))} images in it are "
                f'used, about {lost} are lost. Get it again for the rest.'
            )
            losses.damaged.append(f'{tar}: {damage}')
            losses.count += lost
    return [table for tar in tars for table in found[tar].tables]


@lru_cache(maxsize=4096)
def _tar_content(
    tar: str, top: Path, endings: tuple[str, ...], size: int, mtime_ns: int
) -> _TarContent:
    """List a tar's images, once for all data sets of a process while its size and time stay."""
    index = index_shard(tar)
    stem = Path(tar).with_suffix('').relative_to(top)
    own = f'{stem.name}/'  # some archives repeat their own name in front

    def is_image(name: str) -> bool:
        return name.lower().endswith(endings) and not is_foreign(name)

    images = [name for name in index.files if is_image(name)]
    tables = []
    for start in ('', own):
        names = [name for name in images if name.startswith(own) == bool(start)]
        if names:
            offsets, sizes = zip(*(index.files[name] for name in names), strict=True)
            place = Place(f'{tar}/{start}', f'{stem.as_posix()}/', tar)
            names = [name.removeprefix(start) for name in names]
            tables.append(ImageTable.of(place, names, offsets, sizes))
    # What is behind the damage is as dense as what is before it.
    unnamed = round(len(images) * index.unread / max(size - index.unread, 1))
    return _TarContent(tables, '; '.join(index.damage), sum(map(is_image, index.lost)) + unnamed)
