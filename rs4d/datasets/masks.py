"""Masks as they stand in annotation files: encoded, and checked before pycocotools reads them."""

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

# Coordinates beyond this many pixels overflow pycocotools' integers, or take all memory.
LIMIT = 1e6
# So many compressed masks are decoded at once.
_TOGETHER = 4096


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
    if not isinstance(counts, str):
        return None
    values, _, good = decode_texts([counts])
    return values if good[0] else None


def decode_texts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode COCO's compressed run lengths of many masks at once.

    Args:
        texts: One for each mask, at least one in all.

    Returns:
        (R,) int64, the run lengths of all masks one behind the other; (M,) where each mask's begin;
        (M,) bool, whether they can be run lengths: those of others are any numbers.
    """
    good: np.ndarray = np.array([text != '' and text.isascii() for text in texts])
    texts = [text if fine else '0' for text, fine in zip(texts, good, strict=True)]
    # Groups of 5 bits, the lowest first; bit 5 says that another follows, bit 4 of the last is the
    # sign. From the fourth on they are differences to the last but one.
    codes = np.frombuffer(''.join(texts).encode(), np.uint8).astype(np.int64) - 48
    ends = np.cumsum([len(text) for text in texts])
    begins = np.r_[0, ends[:-1]]
    good &= ~np.logical_or.reduceat((codes < 0) | (codes > 63), begins)
    more = (codes & 32) > 0
    good &= ~more[ends - 1]
    more[ends - 1] = False
    starts = np.flatnonzero(np.r_[True, ~more[:-1]])
    lengths = np.diff(np.r_[starts, len(codes)])
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places.clip(max=7)), starts)
    negative = (codes[starts + lengths - 1] & 16) > 0
    values[negative] -= 1 << (5 * lengths[negative].clip(max=7))
    counts = np.add.reduceat(~more, begins, dtype=np.int64)
    first = np.r_[0, np.cumsum(counts)[:-1]]
    good &= np.maximum.reduceat(lengths, first) <= 7
    place = np.arange(len(values)) - np.repeat(first, counts)
    for column in (place % 2 == 1, (place % 2 == 0) & (place > 0)):
        sums = np.cumsum(np.where(column, values, 0))
        # What the masks before have summed up to is taken away again.
        values[column] = (sums - np.repeat(sums[first], counts))[column]
    good &= np.minimum.reduceat(values, first) >= 0
    return values, first, good


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
        # Number, size and run lengths of masks that are decoded together.
        self._waiting: list[tuple[int, list[int], str]] = []

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
        counts = mask.get('counts')
        if str(mask.get('size')) != str(size):  # [480.0, 640.0] is another size, too
            self._report('masks of another size', number, f'{mask.get("size")}, image {size}')
        elif isinstance(counts, str):
            self._waiting.append((number, size, counts))
            if len(self._waiting) >= _TOGETHER:
                self._decode_waiting()
        else:
            lengths = run_lengths(counts)
            if lengths is None:
                self._is_mask(number, size, None)
            elif self._is_mask(number, size, int(lengths.sum())):
                compressed = coco_mask.frPyObjects(dict(size=size, counts=counts), *size)
                self._take(number, compressed, int(lengths[1::2].sum()))

    def _decode_waiting(self) -> None:
        if not self._waiting:
            return
        lengths, first, good = decode_texts([counts for _, _, counts in self._waiting])
        totals = np.add.reduceat(lengths, first)
        place = np.arange(len(lengths)) - np.repeat(first, np.diff(np.r_[first, len(lengths)]))
        inside = np.add.reduceat(np.where(place % 2, lengths, 0), first)
        measured = zip(good.tolist(), totals.tolist(), inside.tolist(), strict=True)
        for (number, size, counts), (fine, total, pixels) in zip(
            self._waiting, measured, strict=True
        ):
            if self._is_mask(number, size, total if fine else None):
                self._take(number, dict(size=size, counts=counts.encode()), pixels)
        self._waiting.clear()

    def _is_mask(self, number: int, size: list[int], total: int | None) -> bool:
        if total == size[0] * size[1]:
            return True
        what = 'no run lengths' if total is None else f'{total} pixels'
        self._report('malformed masks', number, f'{what}, image {size}')
        return False

    def _take(self, number: int, mask: dict[str, Any], pixels: int) -> None:
        self._masks.append(mask)
        self._masked.append(number)
        self._pixels.append(pixels)

    def measure(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Measure what was taken up, of ``count`` segmentations in all.

        Returns:
            The extents (N, 4) as left, top, right and bottom in pixels, NaN of those that were
            reported; and (N,) bool, which ones have an area.
        """
        self._decode_waiting()
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
            # A figure of eight has no area in sum; a line and its way back have none at all.
            shape = local[starts[i] : starts[i] + lengths[i]]
            areas[i] = not bad[i] and _has_pixels(shape)
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


def _has_pixels(points: np.ndarray) -> bool:
    """Whether pycocotools sets a pixel within a polygon (N, 2) that begins at about (0, 0)."""
    if np.linalg.matrix_rank(points - points[0]) < 2:
        return False
    width, height = (int(side) + 1 for side in points.max(0))
    return bool(coco_mask.area(coco_mask.frPyObjects([points.ravel().tolist()], height, width))[0])


def _short(value: Any) -> str:
    text = repr(value[:4] if isinstance(value, Sequence) else value)
    return text if len(text) <= 60 else text[:60] + '...'
