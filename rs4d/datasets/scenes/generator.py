"""Scenes from a seed and a number each, and whole sets of them in COCO's form."""

import json
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rs4d.errors import ConfigError
from rs4d.files import refuse_existing, write_bytes, write_json

from ..masks import encode_rle
from .optical import draw_optical_scene
from .sar import draw_sar_scene

CLASSES = ('ship', 'building')
SPLITS = ('train', 'val')
# Part of the seed and of the written info: raised whenever the same seed gives other scenes.
VERSION = 1


@dataclass(frozen=True)
class Scene:
    """An image with its instances.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        masks: (N, H, W) bool, exactly the pixels that each object was drawn on; disjoint.
        labels: (N,) int64, indices into ``CLASSES``.
    """

    image: np.ndarray
    masks: np.ndarray
    labels: np.ndarray


def generate_scene(seed: int, index: int, split: str = 'train', size: int = 256) -> Scene:
    """Draw one scene with at least one instance: radar ships or optical roofs, half of the time each.

    Every scene has random numbers of its own, so neither the size of a set nor the other scenes in
    it change what it shows. The splits ``'train'`` and ``'val'`` have no scene in common. Height and
    width are ``size`` pixels, at least 64.

    Raises:
        ConfigError: An argument is out of range.
    """
    if split not in SPLITS or size < 64 or seed < 0 or index < 0:
        raise ConfigError(
            f'generate_scene(seed={seed}, index={index}, split={split!r}, size={size}): seed and '
            f'index must not be negative, split has to be one of {SPLITS}, size at least 64.'
        )
    masks: list[np.ndarray] = []
    attempts = count()
    while not masks:  # a scene that found no place for an object (rare) is drawn again
        entropy = [VERSION, seed, SPLITS.index(split), index, next(attempts)]
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        label = int(rng.random() >= 0.5)
        image, masks = (draw_sar_scene, draw_optical_scene)[label](rng, size)
    return Scene(image, np.stack(masks), np.full(len(masks), label, np.int64))


def ensure_scenes(
    out_dir: str | os.PathLike[str],
    num_train: int = 1200,
    num_val: int = 200,
    size: int = 256,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Write a set of scenes as COCO, unless the very same ones are there already.

    The layout is ``imgs/{train,val}_000000.png`` and ``annotations/scenes_{train,val}.json``. An
    annotation file is written last and whole, so where it exists its images do. Both are returned.
    The same seed gives the same scenes; those of other settings are replaced with ``overwrite`` only.

    Raises:
        ExistingFileError: Scenes made with other settings are there and ``overwrite`` is off.
        ConfigError: A number is out of range.
        FileWriteError: The disk is full, or may not be written to.
    """
    if num_train < 1 or num_val < 1:
        raise ConfigError(
            f'num_train={num_train}, num_val={num_val}: both splits need at least one scene.'
        )
    description = 'RS4D generated scenes: ships on speckled water, roofs on the ground'
    settings = dict(description=description, version=VERSION, size=size, seed=seed)
    counts = dict(zip(SPLITS, (num_train, num_val), strict=True))
    infos = [dict(settings, split=split, count=count) for split, count in counts.items()]
    targets = [Path(out_dir, 'annotations', f'scenes_{split}.json') for split in SPLITS]
    if [_read_info(target) for target in targets] == infos:
        return targets
    if not overwrite:
        refuse_existing(*targets)
    for target in targets:
        target.unlink(missing_ok=True)
    categories = [dict(id=i, name=name, supercategory=None) for i, name in enumerate(CLASSES, 1)]
    for target, info, split in zip(targets, infos, SPLITS, strict=True):
        coco: dict[str, Any] = dict(
            info=info, licenses=[], categories=categories, images=[], annotations=[]
        )
        for index in range(counts[split]):
            file = Path(out_dir, 'imgs', f'{split}_{index:06d}.png')
            _add_scene(coco, generate_scene(seed, index, split, size), file, index)
        write_json(target, coco)
    return targets


def _read_info(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        # None, or not a file of ours; the writer then refuses to touch it.
        return None
    return content.get('info') if isinstance(content, dict) else None


def _add_scene(coco: dict[str, Any], scene: Scene, file: Path, index: int) -> None:
    # OpenCV wants BGR; the least compression is much faster and speckle hardly compresses anyway.
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode('.png', scene.image[..., ::-1], fast)
    write_bytes(file, data.tobytes())
    height, width = scene.image.shape[:2]
    coco['images'].append(dict(id=index, file_name=file.name, width=width, height=height))
    for mask, label in zip(scene.masks, scene.labels.tolist(), strict=True):
        coco['annotations'].append(
            dict(
                id=len(coco['annotations']) + 1,
                image_id=index,
                category_id=label + 1,
                bbox=list(cv2.boundingRect(mask.astype(np.uint8))),
                area=int(np.count_nonzero(mask)),
                iscrowd=0,
                segmentation=encode_rle(mask),
            )
        )
