"""COCO's segmentations of masks, and COCO files written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..errors import OutputExistsError

# Unit steps along pixel edges; the next entry is a right turn (y points down).
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask as COCO's compressed run lengths, ready for JSON.

    Args:
        mask: (H, W) bool or 0/1.

    Returns:
        ``{'size': [H, W], 'counts': str}``.
    """
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(v) for v in rle['size']], counts=rle['counts'].decode('ascii'))


def trace_outlines(mask: np.ndarray) -> list[list[int]]:
    """Trace all boundaries of a mask along pixel edges.

    Corners, not centres, of pixels are the vertices: a pixel at column 0 reaches from x=0 to x=1.
    That is what COCO's rasteriser takes polygons to mean, so it gives the mask back exactly.

    Args:
        mask: (H, W) bool.

    Returns:
        One flat list ``[x0, y0, x1, y1, ...]`` per closed boundary, outer ones and holes alike,
        with vertices only where the direction changes. Pixels that touch at a corner are kept
        together.
    """
    padded = np.pad(mask.astype(bool), 1)
    inside = padded[1:-1, 1:-1]
    # The foreground is to the right of every step: top edges run to the right, and so on round.
    borders = (
        (inside & ~padded[:-2, 1:-1], 0, 0),
        (inside & ~padded[1:-1, 2:], 1, 0),
        (inside & ~padded[2:, 1:-1], 1, 1),
        (inside & ~padded[1:-1, :-2], 0, 1),
    )
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (border, dx, dy) in enumerate(borders):
        for y, x in np.argwhere(border).tolist():
            leaving.setdefault((x + dx, y + dy), []).append(direction)
    outlines = []
    while leaving:
        start = next(iter(leaving))
        direction = leaving[start][0]
        first, point = direction, start
        outline: list[int] = []
        while True:
            options = leaving[point]
            # At a corner where two pixels meet, a left turn goes on along the other pixel.
            left = (direction - 1) % 4
            turn = left if left in options else options[0]
            if turn != direction or not outline:
                outline += point
            options.remove(turn)
            if not options:
                del leaving[point]
            direction = turn
            point = (point[0] + _STEPS[turn][0], point[1] + _STEPS[turn][1])
            if point == start and not _continues(leaving.get(point), direction):
                break
        if direction == first:
            outline = outline[2:]
        outlines.append(outline)
    return outlines


def _continues(options: list[int] | None, direction: int) -> bool:
    return options is not None and (direction - 1) % 4 in options


def mask_to_segmentation(
    mask: np.ndarray, offset: tuple[int, int] = (0, 0), image_size: tuple[int, int] | None = None
) -> list[list[int]] | dict[str, Any]:
    """Express a mask as COCO's ``segmentation``, such that it rasterises to the mask exactly.

    A mask in one piece without holes becomes one polygon along its pixel edges; anything else, for
    which COCO's polygons have no form, becomes compressed run lengths.

    Args:
        mask: (h, w) bool, a crop of the image or all of it.
        offset: x and y of the crop's corner in the image.
        image_size: Height and width of the image; those of ``mask`` by default.

    Returns:
        A list with one polygon, or a run-length dict.
    """
    height, width = mask.shape
    x, y = offset
    outlines = trace_outlines(mask)
    if len(outlines) == 1:
        # The polygon is kept only on proof; the rasteriser is not ours.
        rle = coco_mask.frPyObjects(outlines, height, width)
        if np.array_equal(coco_mask.decode(rle)[..., 0], mask):
            polygon = np.asarray(outlines[0]).reshape(-1, 2) + np.array([x, y])
            return [[int(v) for v in polygon.ravel()]]
    full = np.zeros(image_size or (height, width), np.uint8)
    full[y : y + height, x : x + width] = mask
    return encode_rle(full)


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
