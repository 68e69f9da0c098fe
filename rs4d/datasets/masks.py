"""Masks as they stand in annotation files: encoded, and checked before pycocotools reads them."""

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

# Coordinates beyond this many pixels overflow pycocotools' integers, or take all memory.
LIMIT = 1e6


def numbers(values: Any) -> array | None:
    """Return a list of plain numbers as an array, None if it is anything else."""
    try:
        return array('d', values) if isinstance(values, list) else None
    except (TypeError, OverflowError):
        return None


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask (H, W) as COCO's compressed run lengths, ``{'size': [H, W], 'counts': str}``."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(v) for v in rle['size']], counts=rle['counts'].decode('ascii'))


def run_lengths(counts: Any) -> np.ndarray | None:
    """Decode the run lengths of a mask.

    Args:
        counts: A list of numbers, or COCO's compressed text.

    Returns:
        (R,) int64, alternately of background and foreground; None if they cannot be run lengths.
    """
    if isinstance(counts, list):
        if any(type(count) is not int or not 0 <= count < 1 << 32 for count in counts):
            return None
        return np.array(counts, np.int64)
    if not isinstance(counts, str) or not counts.isascii():
        return None
    # Groups of 5 bits, the lowest first; bit 5 says that another follows, bit 4 of the last is the
    # sign. From the fourth on they are differences to the last but one.
    codes = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    more = (codes & 32) > 0
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or more[-1]:
        return None
    starts = np.flatnonzero(np.r_[True, ~more[:-1]])
    lengths = np.diff(np.r_[starts, len(codes)])
    if lengths.max() > 7:
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    negative = (codes[starts + lengths - 1] & 16) > 0
    values[negative] -= 1 << (5 * lengths[negative])
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values if values.min() >= 0 else None


class MaskTable:
    """Measures segmentations one after the other, all of them at once in the end.

    Args:
        report: Called with the name of a fault, the segmentation's number and what was met.
    """

    def __init__(self, report: Callable[[str, int, str], None]) -> None:
        self._report = report
        self._points = array('d')
        self._starts: list[int] = []
        self._owners: list[int] = []
        self._masks: list[Any] = []
        self._masked: list[int] = []
        self._pixels: list[int] = []
        self._refused: list[int] = []

    def add(self, number: int, segmentation: Any, width: int, height: int) -> None:
        """Take up polygons or run lengths of an image of this size, or report them."""
        if isinstance(segmentation, dict):
            self._add_mask(number, segmentation, [height, width])
        elif not segmentation or not isinstance(segmentation, list):
            self._report('no segmentation', number, '')
        else:
            self._add_polygons(number, segmentation)

    def _add_polygons(self, number: int, polygons: list[Any]) -> None:
        for position, polygon in enumerate(polygons):
            points = numbers(polygon)
            if points is None:
                self._report('malformed polygons', number, _short(polygon))
                self._refused.append(number)
                return
            if len(points) < 6 or len(points) % 2:
                # COCO's own code looks at the first polygon to decide what it has before it.
                check = 'small second polygons' if position else 'polygons under three points'
                self._report(check, number, f'{len(points)} numbers')
                continue
            self._starts.append(len(self._points) // 2)
            self._owners.append(number)
            self._points.extend(points)

    def _add_mask(self, number: int, mask: dict[str, Any], size: list[int]) -> None:
        if str(mask.get('size')) != str(size):  # [480.0, 640.0] is another size, too
            self._report('masks of another size', number, f'{mask.get("size")}, image {size}')
            return
        counts = run_lengths(mask.get('counts'))
        if counts is None or counts.sum() != size[0] * size[1]:
            what = 'no run lengths' if counts is None else f'{counts.sum()} pixels'
            self._report('malformed masks', number, f'{what}, image {size}')
            return
        text = mask['counts']
        compressed = dict(size=size, counts=text.encode() if isinstance(text, str) else text)
        if isinstance(text, list):
            compressed = coco_mask.frPyObjects(compressed, *size)
        self._masks.append(compressed)
        self._masked.append(number)
        self._pixels.append(int(counts[1::2].sum()))

    def measure(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Measure what was taken up, of ``count`` segmentations in all.

        Returns:
            The extents (N, 4) as left, top, right and bottom in pixels, NaN of those that were
            reported; and (N,) bool, which ones have an area.
        """
        extents: np.ndarray = np.full((count, 4), np.nan)
        solid: np.ndarray = np.zeros(count, bool)
        if self._masks:
            boxes = coco_mask.toBbox(self._masks)
            extents[self._masked] = np.c_[boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]
            solid[self._masked] = np.array(self._pixels) > 0
        if self._starts:
            self._measure_polygons(extents, solid)
        return extents, solid

    def _measure_polygons(self, extents: np.ndarray, solid: np.ndarray) -> None:
        points = np.array(self._points).reshape(-1, 2)
        starts, owners = np.array(self._starts), np.array(self._owners)
        with np.errstate(invalid='ignore'):
            bad = np.logical_or.reduceat(~(np.abs(points) <= LIMIT).all(1), starts)
        for number in np.unique(owners[bad]).tolist():
            self._report('malformed polygons', number, f'NaN, or beyond {LIMIT:.0f} pixels')
        low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
        for columns, values, best in ((slice(2), low, np.fmin), (slice(2, 4), high, np.fmax)):
            best.at(extents[:, columns], owners, values)
        lengths = np.diff(np.r_[starts, len(points)])
        with np.errstate(invalid='ignore', over='ignore'):
            local = points - np.repeat(low, lengths, 0)
            following = np.roll(local, -1, 0)
            following[starts + lengths - 1] = local[starts]
            crossed = local[:, 0] * following[:, 1] - local[:, 1] * following[:, 0]
            areas = np.add.reduceat(crossed, starts)
        for i in np.flatnonzero(np.abs(areas) < 1e-6):
            # A figure of eight has no area in sum; points on a line have none at all.
            shape = local[starts[i] : starts[i] + lengths[i]]
            areas[i] = not bad[i] and np.linalg.matrix_rank(shape - shape[0]) > 1
        solid[owners[areas != 0]] = True
        extents[owners[bad]] = np.nan
        extents[self._refused] = np.nan


def overlaps(extents: np.ndarray, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Measure how far masks lie where their boxes are.

    Args:
        extents: (N, 4) left, top, right and bottom of the masks, NaN where there is none.
        boxes: (N, 4) left, top, right and bottom of the boxes.
        sizes: (N, 2) width and height of the images.

    Returns:
        (N,) the overlap by the union of the two within the image, NaN without a mask. One pixel on
        each side is allowed for.
    """
    edges, slack = np.tile(sizes, 2), np.array([-1, -1, 1, 1])
    masks, boxes = (np.clip(part, 0, edges) + slack for part in (extents, boxes))
    shared = np.minimum(masks, boxes)[:, 2:] - np.maximum(masks, boxes)[:, :2]
    overlap = np.clip(shared, 0, None).prod(1)
    areas = (np.clip(part[:, 2:] - part[:, :2], 0, None).prod(1) for part in (masks, boxes))
    return overlap / (sum(areas) - overlap)


def _short(value: Any) -> str:
    text = repr(value[:4] if isinstance(value, Sequence) else value)
    return text if len(text) <= 60 else text[:60] + '...'
