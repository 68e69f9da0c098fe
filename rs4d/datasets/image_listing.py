"""Which images lie below a folder, as files and inside of tar shards."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from .checks import require_folder
from .errors import DatasetNotFoundError
from .tar_shards import index_shard

_REMEDY = (
    'SA-1B is expected as shards, SA1B/sa_000000.tar as they are published or SA1B/sa_000000/sa_*.jpg '
    'extracted; any folder of images will do, nested or not. data/README.md says where SA-1B comes '
    'from. Set the environment variable RS4D_DATA_ROOT to the folder that holds SA1B.'
)


def list_images(
    root: str | os.PathLike[str],
    extensions: Sequence[str],
    shards: Iterable[str] | None = None,
) -> list[dict[str, Any]]:
    """List the images below a folder, those in tars included.

    Args:
        root: The folder; links in it are followed.
        extensions: File name endings, in lower case, that count.
        shards: Names of folders or archives directly below the root; only these are looked at.

    Returns:
        A dict for each image, sorted by ``img_key``: ``img_path``, ``img_key``, and for one in a tar
        ``shard`` with the archive's ``path`` and the image's ``offset`` and ``size``.

    Raises:
        DatasetNotFoundError: The folder or a shard is missing, or has no such file.
    """
    require_folder(root, 'data root', _REMEDY)
    top = Path(root)
    found: dict[str, dict[str, Any]] = {}
    tars: list[Path] = []
    for start in _starts(top, shards):
        if start.is_file():
            tars.append(start)
            continue
        for folder, _, files in os.walk(start, followlinks=True):
            for file in files:
                path = os.path.join(folder, file)
                if file.lower().endswith('.tar'):
                    tars.append(Path(path))
                elif file.lower().endswith(tuple(extensions)):
                    key = Path(os.path.relpath(path, top)).as_posix()
                    found[key] = dict(img_path=path, img_key=key)
    for tar in tars:
        for image in _tar_images(tar, top, extensions):
            found.setdefault(image['img_key'], image)
    if not found:
        raise DatasetNotFoundError(
            f"The data root '{root}' has no file ending in {', '.join(extensions)}, nor has a tar "
            f'in it. {_REMEDY}'
        )
    return [found[key] for key in sorted(found)]


def read_shard_list(shards: str | Sequence[str] | None) -> list[str] | None:
    """Return names of shards without ``.tar``, read from a text file if that is given.

    Args:
        shards: Names, a text file with one a line, or None.

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


def _starts(top: Path, shards: Iterable[str] | None) -> list[Path]:
    """Where to look: the root, or the folders and archives of the shards wanted."""
    if shards is None:
        return [top]
    starts = []
    for name in shards:
        places = [place for place in (top / name, top / f'{name}.tar') if place.exists()]
        if not places:
            raise DatasetNotFoundError(
                f"The shard '{name}' is neither a folder nor a tar in '{top}'. Correct shards=, or "
                'get the shard.'
            )
        starts += places
    return starts


def _tar_images(tar: Path, top: Path, extensions: Sequence[str]) -> list[dict[str, Any]]:
    index = index_shard(tar)
    for damage in index.damage:
        print_log(
            f"The shard '{tar}' is damaged: {damage}. The {len(index.members)} files before are used; "
            'get it again for the rest.',
            logger='current',
            level=30,
        )
    stem = tar.with_suffix('').relative_to(top)
    images = []
    for member in index.members:
        if member.name.lower().endswith(tuple(extensions)):
            # Some archives repeat their own name in front.
            key = (stem / member.name.removeprefix(f'{stem.name}/')).as_posix()
            shard = dict(path=str(tar), offset=member.offset, size=member.size)
            images.append(dict(img_path=f'{tar}/{member.name}', img_key=key, shard=shard))
    return images
