"""Checks of a data set's files, made when it is built, before any training time is spent."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import AnnotationError, DatasetNotFoundError
from .image_reading import image_size


def require_folder(path: str | os.PathLike, what: str, remedy: str) -> None:
    """Raise unless a folder exists; ``what`` it is, and the ``remedy``, go into the message.

    Raises:
        DatasetNotFoundError: The folder is absent or not a folder.
    """
    if not Path(path).is_dir():
        raise DatasetNotFoundError(
            f"The {what} '{path}' does not exist or is not a folder (working directory "
            f"'{Path.cwd()}', RS4D_DATA_ROOT={os.environ.get('RS4D_DATA_ROOT', '(unset)')}). "
            f'{remedy}'
        )


def check_image_files(
    images: Sequence[Mapping[str, Any]], img_dir: str | os.PathLike, num_sizes: int, remedy: str
) -> None:
    """Make sure that all images of an annotation file exist, and that their sizes agree.

    Args:
        images: The list of an annotation file.
        img_dir: Folder to which ``file_name`` is relative.
        num_sizes: Of how many images, spread evenly over the set, the size is compared.
        remedy: What to do when images are missing.

    Raises:
        DatasetNotFoundError: The folder or images are missing.
        AnnotationError: An image has another size than its annotation says.
        ImageDecodeError: One of the files that were opened is no image.
    """
    require_folder(img_dir, 'image folder', remedy)
    names = [image['file_name'] for image in images]
    # One listing a folder instead of one call a file: cheap on network disks too.
    present: dict[str, set[str]] = {}
    for folder in {os.path.dirname(name) for name in names}:
        path = os.path.join(img_dir, folder)
        present[folder] = set(os.listdir(path)) if os.path.isdir(path) else set()
    missing = [n for n in names if os.path.basename(n) not in present[os.path.dirname(n)]]
    if missing:
        raise DatasetNotFoundError(
            f"{len(missing)} of {len(names)} images are missing in '{img_dir}', the first is "
            f"'{missing[0]}'. {remedy}"
        )
    for image in spread(images, num_sizes):
        path = os.path.join(img_dir, image['file_name'])
        noted = image['width'], image['height']
        size = image_size(path, noted)
        if size != noted:
            raise AnnotationError(
                f"The image '{path}' is {size[0]}x{size[1]} (width x height), its annotation says "
                f'{image["width"]}x{image["height"]}, so boxes and masks would not lie where the '
                'objects are. Use the images that the annotations were made on, or correct width '
                'and height in the annotation file if only they are wrong.'
            )


def spread(items: Sequence[Any], count: int) -> Iterable[Any]:
    """Choose up to ``count`` items spread evenly over a sequence, the first and last among them."""
    count = min(max(count, 0), len(items))
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]
