"""Checks of a data set's files, made when it is built, before any training time is spent."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from .annotation_checks import instance_findings, structure_findings
from .errors import AnnotationError, DatasetNotFoundError
from .image_reading import image_size
from .report import Finding


def require_folder(path: str | os.PathLike, what: str, remedy: str) -> None:
    """Raise unless a folder exists.

    Args:
        path: The folder.
        what: What it is, for the message: ``'data root'``, ``'image folder'``.
        remedy: What to do, as one or more sentences.

    Raises:
        DatasetNotFoundError: The folder is absent or not a folder.
    """
    if not Path(path).is_dir():
        raise DatasetNotFoundError(
            f"The {what} '{path}' does not exist or is not a folder (working directory "
            f"'{Path.cwd()}', RS4D_DATA_ROOT={os.environ.get('RS4D_DATA_ROOT', '(unset)')}). "
            f'{remedy}'
        )


def load_coco(ann_file: str | os.PathLike, remedy: str) -> dict[str, Any]:
    """Read an annotation file and make sure that it has the structure of COCO instances.

    Args:
        ann_file: The JSON file.
        remedy: What to do when it is missing.

    Returns:
        The file's content with the keys ``images``, ``annotations`` and ``categories``.

    Raises:
        DatasetNotFoundError: The file is absent.
        AnnotationError: It is not JSON, or not COCO instances.
    """
    content = read_coco(ann_file, remedy)
    _refuse(structure_findings(content, ''), ann_file)
    return content


def read_coco(ann_file: str | os.PathLike, remedy: str) -> dict[str, Any]:
    """Read an annotation file with the three lists of COCO, whatever their entries are.

    Args:
        ann_file: The JSON file.
        remedy: What to do when it is missing.

    Returns:
        The file's content with the keys ``images``, ``annotations`` and ``categories``.

    Raises:
        DatasetNotFoundError: The file is absent.
        AnnotationError: It is not JSON, or not COCO instances.
    """
    path = Path(ann_file)
    if not path.is_file():
        raise DatasetNotFoundError(f"The annotation file '{path}' does not exist. {remedy}")
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(
            f"The annotation file '{path}' is not valid JSON ({error}). It may have been cut off "
            'while it was copied or downloaded: get it again.'
        ) from error
    keys = ('images', 'annotations', 'categories')
    if not isinstance(content, dict) or any(not isinstance(content.get(k), list) for k in keys):
        found = sorted(content) if isinstance(content, dict) else f'a {type(content).__name__}'
        raise AnnotationError(
            f"The annotation file '{path}' is JSON but not COCO: expected an object with the lists "
            f'{", ".join(keys)}, found {found}. Convert the annotations to COCO instances, or '
            'point ann_file at the right file.'
        )
    return content


def _refuse(findings: Sequence[Finding], ann_file: str | os.PathLike) -> None:
    """Raise with all that is fatal, and log the rest."""
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        listed = ' '.join(finding.sentence() for finding in fatal)
        raise AnnotationError(
            f"The annotation file '{ann_file}' cannot be used as it is: {listed} "
            'tools/analysis_tools/check_dataset.py lists all that is wrong with a data set.'
        )
    for finding in findings:
        MMLogger.get_current_instance().warning(f"'{ann_file}': {finding.sentence()}")


def check_categories(
    coco: Mapping[str, Any],
    ann_file: str | os.PathLike,
    classes: Sequence[str],
    allow_more: bool,
) -> None:
    """Compare the annotation file's categories with the classes of the config.

    MMDetection numbers labels in the file's order and drops what it does not know without a word,
    which shows only as an average precision of 0; hence also the order is checked.

    Args:
        coco: Content of the annotation file.
        ann_file: Its path, for messages.
        classes: The class names that the data set was given.
        allow_more: Whether the file may have categories beyond those, whose instances are left out.

    Raises:
        AnnotationError: The two do not match.
    """
    in_file = [category['name'] for category in coco['categories']]
    remedy = (
        'Point ann_file at the right file, use the data set class made for it, or give the data '
        f'set the classes that the file has: metainfo=dict(classes={tuple(in_file)!r}), and the '
        "heads' num_classes to match."
    )
    missing = [name for name in classes if name not in in_file]
    more = [name for name in in_file if name not in classes]
    if missing or (more and not allow_more):
        raise AnnotationError(
            f"The categories of the annotation file '{ann_file}' do not match the config: the "
            f'config has {list(classes)}, the file has {in_file}. {remedy}'
        )
    if [name for name in in_file if name in classes] != list(classes):
        raise AnnotationError(
            f"The annotation file '{ann_file}' lists its categories in the order {in_file}, the "
            f'config in the order {list(classes)}; labels are numbered in the order of the file, '
            f'so names would be given to the wrong classes. {remedy}'
        )


def check_instances(
    coco: Mapping[str, Any], ann_file: str | os.PathLike, classes: Sequence[str]
) -> None:
    """Make sure that there is something to learn from, and that boxes and masks mean COCO's.

    All that is wrong is named at once; what MMDetection only leaves out is logged.

    Args:
        coco: Content of the annotation file.
        ann_file: Its path, for messages.
        classes: The class names whose instances are used.

    Raises:
        AnnotationError: No usable instance, an unknown image or category, boxes that cannot be
            ``[x, y, width, height]`` in pixels, or polygons that are none.
    """
    _refuse(instance_findings(coco, classes, ''), ann_file)


def check_image_files(
    coco: Mapping[str, Any], img_dir: str | os.PathLike, num_sizes: int, remedy: str
) -> None:
    """Make sure that all images of an annotation file exist, and that their sizes agree.

    Args:
        coco: Content of the annotation file.
        img_dir: Folder to which ``file_name`` is relative.
        num_sizes: Of how many images, spread evenly over the set, the size is read and compared.
        remedy: What to do when images are missing.

    Raises:
        DatasetNotFoundError: The folder or images are missing.
        AnnotationError: An image has another size than its annotation says.
        ImageDecodeError: One of the files that were opened is no image.
    """
    require_folder(img_dir, 'image folder', remedy)
    names = [image['file_name'] for image in coco['images']]
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
    for image in spread(coco['images'], num_sizes):
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
    """Choose up to ``count`` items spread evenly over a sequence, the first and last among them.

    Args:
        items: The sequence.
        count: How many to choose at most.

    Returns:
        The chosen items in their order.
    """
    if count <= 0 or not items:
        return []
    if count >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]
