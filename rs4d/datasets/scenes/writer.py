"""Generated scenes as a COCO data set on disk."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rs4d.errors import ConfigError
from rs4d.files import refuse_existing, write_bytes, write_json

from ..masks import encode_rle
from .generator import CLASSES, SPLITS, VERSION, Scene, generate_scene


def write_scenes(
    out_dir: str | os.PathLike,
    num_train: int = 1200,
    num_val: int = 200,
    size: int = 256,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Draw a set of scenes and write it as COCO.

    The layout is ``imgs/{train,val}_000000.png`` and ``annotations/scenes_{train,val}.json``. An
    annotation file is written last and whole, so where it exists its images do.

    Args:
        out_dir: Folder to write to; made if need be.
        num_train: How many scenes to train on.
        num_val: How many scenes to evaluate on.
        size: Height and width in pixels.
        seed: The same seed gives the same scenes.
        overwrite: Whether scenes written before may be replaced.

    Returns:
        The two annotation files.

    Raises:
        ExistingFileError: Scenes are there already and ``overwrite`` is off.
        ConfigError: A number is out of range.
        FileWriteError: The disk is full, or may not be written to.
    """
    if num_train < 1 or num_val < 1:
        raise ConfigError(
            f'num_train={num_train}, num_val={num_val}: both splits need at least one scene.'
        )
    out_dir = Path(out_dir)
    counts = dict(zip(SPLITS, (num_train, num_val), strict=True))
    targets = {split: annotation_file(out_dir, split) for split in SPLITS}
    if not overwrite:
        refuse_existing(*targets.values())
    for target in targets.values():
        target.unlink(missing_ok=True)
    for split, count in counts.items():
        coco: dict[str, Any] = dict(
            info=_info(split, count, size, seed),
            licenses=[],
            categories=[
                dict(id=i, name=name, supercategory=None) for i, name in enumerate(CLASSES, 1)
            ],
            images=[],
            annotations=[],
        )
        for index in range(count):
            _add_scene(coco, generate_scene(seed, index, split, size), out_dir, split, index)
        write_json(targets[split], coco)
    return list(targets.values())


def ensure_scenes(out_dir: str | os.PathLike, **settings: Any) -> list[Path]:
    """Write scenes unless the very same ones are there already.

    Args:
        out_dir: Folder to write to.
        **settings: As for :func:`write_scenes`.

    Returns:
        The two annotation files.

    Raises:
        ExistingFileError: Scenes made with other settings are there and ``overwrite`` is off.
        ConfigError: A number is out of range.
        FileWriteError: The disk is full, or may not be written to.
    """
    values = dict(num_train=1200, num_val=200, size=256, seed=0) | settings
    targets = [annotation_file(out_dir, split) for split in SPLITS]
    wanted = [
        _info(split, values[f'num_{split}'], values['size'], values['seed']) for split in SPLITS
    ]
    if all(t.is_file() for t in targets) and [_read_info(t) for t in targets] == wanted:
        return targets
    return write_scenes(out_dir, **values)


def annotation_file(out_dir: str | os.PathLike, split: str) -> Path:
    """Return where the annotations of a split lie.

    Args:
        out_dir: Folder of the set.
        split: ``'train'`` or ``'val'``.

    Returns:
        The path.
    """
    return Path(out_dir) / 'annotations' / f'scenes_{split}.json'


def _info(split: str, count: int, size: int, seed: int) -> dict[str, Any]:
    return dict(
        description='RS4D generated scenes: ships on speckled water, roofs on the ground',
        version=VERSION,
        split=split,
        count=count,
        size=size,
        seed=seed,
    )


def _read_info(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (json.JSONDecodeError, UnicodeDecodeError):
        # Not a file of ours; the writer then refuses to touch it.
        return None
    return content.get('info') if isinstance(content, dict) else None


def _add_scene(coco: dict[str, Any], scene: Scene, out_dir: Path, split: str, index: int) -> None:
    name = f'{split}_{index:06d}.png'
    # OpenCV wants BGR; the least compression is much faster and speckle hardly compresses anyway.
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode('.png', scene.image[..., ::-1], fast)
    write_bytes(out_dir / 'imgs' / name, data.tobytes())
    height, width = scene.image.shape[:2]
    coco['images'].append(dict(id=index, file_name=name, width=width, height=height))
    for mask, label in zip(scene.masks, scene.labels.tolist(), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y = int(columns[0]), int(rows[0])
        coco['annotations'].append(
            dict(
                id=len(coco['annotations']) + 1,
                image_id=index,
                category_id=label + 1,
                bbox=[x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
                area=int(np.count_nonzero(mask)),
                iscrowd=0,
                segmentation=encode_rle(mask),
            )
        )
