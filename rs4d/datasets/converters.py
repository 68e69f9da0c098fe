"""From other formats to COCO instances: WHU building labels, which are semantic TIFFs."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import MMLogger

from rs4d.files import refuse_existing, write_json

from .checks import require_folder
from .errors import AnnotationError, DatasetNotFoundError, ImageDecodeError
from .image_listing import is_foreign
from .image_reading import image_size, read_file
from .masks import encode_rle

SPLITS = ('train', 'val', 'test')
_SUFFIXES = {'.tif', '.tiff', '.png'}


def convert_whu(
    root: str | os.PathLike,
    splits: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Make ``annotations/WHU_building_{split}.json`` from the label images of a WHU folder.

    Every connected component of a label becomes one instance, as is usual for this set: buildings
    that touch, also at a corner, are one. Nothing is written before all splits have been read.

    Args:
        root: Folder with ``{train,val,test}/{image,label}/*.tif``.
        splits: Which splits to convert; those that are there by default.
        overwrite: Whether existing annotation files may be replaced.

    Returns:
        The files written.

    Raises:
        DatasetNotFoundError: A folder or a label is missing.
        AnnotationError: A label is not a mask of its image.
        ImageDecodeError: A file does not decode.
        ExistingFileError: An annotation file exists and ``overwrite`` is off.
        FileWriteError: The disk is full, or may not be written to.
    """
    root = Path(root)
    remedy = 'Give the folder of WHU that holds {train,val,test}/{image,label}/*.tif.'
    require_folder(root, 'WHU folder', remedy)
    if splits is None:
        splits = [split for split in SPLITS if (root / split).is_dir()]
    if not splits:
        raise DatasetNotFoundError(f"'{root}' has none of the folders {SPLITS}. {remedy}")
    targets = {s: root / 'annotations' / f'WHU_building_{s}.json' for s in splits}
    if not overwrite:
        refuse_existing(*targets.values())
    contents = {s: _convert_split(root / s, s, remedy) for s in splits}
    for split, content in contents.items():
        write_json(targets[split], content)
        MMLogger.get_current_instance().info(
            f"'{targets[split]}': {len(content['images'])} images, "
            f'{len(content["annotations"])} instances'
        )
    return list(targets.values())


def _convert_split(folder: Path, split: str, remedy: str) -> dict[str, Any]:
    for kind in ('image', 'label'):
        require_folder(folder / kind, f'{kind} folder', remedy)
    paths = [path for path in (folder / 'image').iterdir() if not is_foreign(path.name)]
    images = sorted(
        (path for path in paths if path.suffix.lower() in _SUFFIXES),
        key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r'(\d+)', p.name)],
    )
    if not images:
        raise DatasetNotFoundError(f"'{folder / 'image'}' has no .tif, .tiff or .png. {remedy}")
    coco: dict[str, Any] = dict(
        info=dict(description=f'WHU building, {split}, one instance per connected component'),
        licenses=[],
        categories=[dict(id=1, name='building', supercategory=None)],
        images=[],
        annotations=[],
    )
    for image_id, path in enumerate(images):
        width, height = image_size(path)
        label = _read_label(folder / 'label' / path.name, (height, width))
        coco['images'].append(dict(id=image_id, file_name=path.name, width=width, height=height))
        for annotation in label_to_annotations(label):
            # COCO's evaluation takes the id 0 for "no match", so annotations count from 1.
            annotation.update(id=len(coco['annotations']) + 1, image_id=image_id)
            coco['annotations'].append(annotation)
    return coco


def _read_label(path: Path, shape: tuple[int, int]) -> np.ndarray:
    if not path.is_file():
        raise DatasetNotFoundError(
            f"The label '{path}' is missing; each image needs a label of the same name. Extract "
            'the set again.'
        )
    data = np.frombuffer(read_file(path), np.uint8)
    label = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if label is None:
        raise ImageDecodeError(f"The label '{path}' is cut off or no image: get it again.")
    values = np.unique(label)
    if label.shape != shape or len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise AnnotationError(
            f"The label '{path}' is not a mask of its image: expected one channel of {shape[0]}x"
            f'{shape[1]} (height x width) with 0 and one other value, found {label.shape} with the '
            f'values {values[:5].tolist()}. Check that it is the right file.'
        )
    return label > 0


def label_to_annotations(label: np.ndarray) -> list[dict[str, Any]]:
    """Split a semantic mask (H, W), True on buildings, into instances.

    Returns:
        One COCO annotation per connected component, from top to bottom, without ``id`` and
        ``image_id``: ``category_id``, ``bbox`` (x, y, width, height), ``area`` in pixels,
        ``iscrowd`` and ``segmentation``, the run lengths of exactly the component.
    """
    count, components, stats, _ = cv2.connectedComponentsWithStats(label.astype(np.uint8))
    annotations = []
    for component in range(1, count):
        x, y, width, height, area = stats[component].tolist()
        annotations.append(
            dict(
                category_id=1,
                bbox=[x, y, width, height],
                area=area,
                iscrowd=0,
                segmentation=encode_rle(components == component),
            )
        )
    return annotations
