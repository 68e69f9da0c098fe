"""Which images of a list are the same one: by name, by the bytes of their files, or by their pixels."""

import hashlib
import logging
import os
from collections.abc import Hashable, Iterable, Sequence

from mmengine.logging import print_log
from tqdm import tqdm

from .errors import ImageDecodeError
from .image_reading import decode, read_file


def groups_of_copies(keys: Sequence[Iterable[Hashable]]) -> list[list[int]]:
    """Put together what shares a key, also by way of others.

    Args:
        keys: The keys of each item.

    Returns:
        Numbers of items, each in one group; groups and numbers ascend.
    """
    parent = list(range(len(keys)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    first: dict[Hashable, int] = {}
    for item, own in enumerate(keys):
        for key in own:
            a, b = sorted((root(first.setdefault(key, item)), root(item)))
            parent[b] = a
    groups: dict[int, list[int]] = {}
    for item in range(len(keys)):
        groups.setdefault(root(item), []).append(item)
    return list(groups.values())


def content_keys(paths: Sequence[str | os.PathLike[str]]) -> list[list[str]]:
    """Read what images hold: files of the same bytes, or of the same pixels, share a key.

    Pixels of rasters that are not loaded as pictures are not compared.

    Raises:
        DatasetNotFoundError: An image is missing.
        ImageDecodeError: A file cannot be read.
    """
    keys: list[list[str]] = []
    known: dict[str, list[str]] = {}
    for path in tqdm(paths, 'reading images', unit='image', disable=None):
        data = read_file(path)
        content = hashlib.blake2b(data, digest_size=16).hexdigest()
        if content not in known:
            known[content] = [content]
            try:
                image = decode(data, os.fspath(path))
            except ImageDecodeError as error:
                print_log(f'Compared by its bytes alone: {error}', 'current', logging.DEBUG)
            else:
                digest = hashlib.blake2b(image.tobytes(), digest_size=16)
                known[content].append(f'{image.shape} {digest.hexdigest()}')
        keys.append(known[content])
    return keys
