"""Masks as COCO's run lengths, and COCO files written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..errors import OutputExistsError


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask as COCO's compressed run lengths, ready for JSON.

    Args:
        mask: (H, W) bool or 0/1.

    Returns:
        ``{'size': [H, W], 'counts': str}``.
    """
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(v) for v in rle['size']], counts=rle['counts'].decode('ascii'))


def write_json(path: str | os.PathLike, content: Any, overwrite: bool = False) -> None:
    """Write a JSON file so that it is there completely or not at all.

    Args:
        path: The file; its folder is made if need be.
        content: What to write.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputExistsError: The file exists and ``overwrite`` is off.
    """
    path = Path(path)
    refuse_existing([path], overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'w', encoding='utf-8') as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(paths: list[Path], overwrite: bool) -> None:
    """Raise if anything that is going to be written is there already.

    Args:
        paths: The files.
        overwrite: Whether that is allowed.

    Raises:
        OutputExistsError: One exists and ``overwrite`` is off.
    """
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise OutputExistsError(
            f"'{existing[0]}' exists already and is not overwritten. Give another place, or add "
            '--overwrite to replace it.'
        )
