"""An annotation file divided into those of train, val and test, with no image on two sides."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from rs4d.errors import UserError
from rs4d.files import refuse_existing, write_json
from rs4d.geo.extra import MissingExtraError

from .coco_file import read_coco
from .errors import AnnotationError
from .image_copies import content_keys, groups_of_copies
from .image_places import places_of
from .stratifying import balance, stratify
from .tiling.plan import SplitOptions, Tile, TilingError, divide

# How often blocks, or single images, are drawn; the most even draw is taken.
_BLOCK_DRAWS = 24
_DRAWS = 8


class SplitError(UserError, ValueError):
    """An annotation file cannot be divided as it was asked for."""


@dataclass(frozen=True)
class Division:
    """How an annotation file is divided.

    Attributes:
        val: Share of the images for validation.
        test: Share for a test.
        by: ``'random'``, ``'blocks'`` of neighbouring images, or None for blocks where the images
            have a known place.
        block: Side of a block in pixels; None for what :class:`rs4d.datasets.tiling.plan.SplitOptions`
            takes.
        guard: Pixels between images of two sides, of blocks alone.
        seed: Of all choices.
    """

    val: float = 0.2
    test: float = 0.0
    by: str | None = None
    block: int | None = None
    guard: int = 0
    seed: int = 0


@dataclass
class Divided:
    """What was written.

    Attributes:
        by: ``'random'`` or ``'blocks'``.
        files: The annotation files by side.
        images: How many images each has.
        instances: By side and class.
        copies: How many images are copies of another one.
        left_out: How many images are on no side: in the guard band, or copies across it.
        one_sided: Classes that are not on every side, as there are too few images with them.
    """

    by: str
    files: dict[str, Path]
    images: dict[str, int]
    instances: dict[str, Counter[str]]
    copies: int = 0
    left_out: int = 0
    one_sided: list[str] = field(default_factory=list)


def split_annotations(
    ann_file: str | os.PathLike[str],
    out: str | os.PathLike[str],
    images: str | os.PathLike[str] | None,
    division: Division | None = None,
    overwrite: bool = False,
) -> Divided:
    """Divide an annotation file, and write one of each side into a folder.

    Images that are the same by name, bytes, pixels or looks stay together. Classes are divided in the
    same shares, and rare ones are on every side where they are in as many images.

    Args:
        ann_file: The COCO file.
        out: Folder for ``train.json``, ``val.json`` and, if it has a share, ``test.json``.
        images: Folder of the images; None compares them by name alone.
        division: How.
        overwrite: Whether files that are there are replaced.

    Raises:
        SplitError: The shares are none, or the images have no place by which to divide them.
        AnnotationError: The file is not COCO, or speaks of what it does not have.
        DatasetNotFoundError: A file is missing.
        ExistingFileError: A file would be replaced.
    """
    division = division or Division()
    sides = _shares(division)
    files = {side: Path(out) / f'{side}.json' for side in sides}
    if not overwrite:
        refuse_existing(*files.values())
    content = read_coco(ann_file, 'Correct the path.')
    labels, names = _labels(content, ann_file, len(sides))
    entries = content['images']
    paths = [] if images is None else [Path(images, str(e['file_name'])) for e in entries]
    by_name = [[str(entry['file_name'])] for entry in entries]
    found = content_keys(paths) if paths else [[] for _ in entries]
    groups = groups_of_copies([name + keys for name, keys in zip(by_name, found, strict=True)])
    tiles = _tiles(entries, paths, division.by)
    if tiles is None and division.by == 'blocks':
        raise SplitError(
            f"'{ann_file}' cannot be divided by blocks: its images have no known place, neither "
            "'scene' and 'window' in the file, as rs4d tile writes them, nor a georeference. Divide "
            'it with --by random.'
        )
    if tiles is None:
        if any('window' in entry for entry in entries):
            print_log(
                'Neighbouring tiles may show the same ground on two sides. --by blocks keeps them '
                'apart.',
                'current',
                logging.WARNING,
            )
        side_of = _by_chance(groups, labels, list(sides.values()), division.seed)
    else:
        side_of = _by_blocks(tiles, groups, labels, sides, division)
    done = Divided('random' if tiles is None else 'blocks', files, {}, {})
    done.copies = len(entries) - len(groups)
    done.left_out = int((side_of < 0).sum())
    parts = [_part(content, entries, side_of == number) for number in range(len(sides))]
    for (side, file), part in zip(files.items(), parts, strict=True):
        write_json(file, part)
        done.images[side] = len(part['images'])
        categories = {c['id']: c['name'] for c in content['categories']}
        done.instances[side] = Counter(categories[a['category_id']] for a in part['annotations'])
    done.one_sided = [n for n in names if not all(done.instances[side][n] for side in sides)]
    return done


def _shares(division: Division) -> dict[str, float]:
    """The sides and their shares of the images."""
    train = 1 - division.val - division.test
    shares = dict(train=train, val=division.val, test=division.test)
    if min(division.val, division.test) < 0 or not 0 < train < 1:
        raise SplitError(
            f'--val {division.val:g} and --test {division.test:g} leave {train:g} of the '
            'images to train on. Give shares between 0 and 1 whose sum is below 1, at least one of '
            'them above 0.'
        )
    return {side: share for side, share in shares.items() if share > 0}


def _tiles(
    entries: Sequence[Mapping[str, Any]], paths: Sequence[Path], by: str | None
) -> list[Tile] | None:
    if by == 'random':
        return None
    try:
        return places_of(entries, paths)
    except MissingExtraError as error:
        if by == 'blocks':
            raise
        print_log(f'Images are divided by chance. {error}', 'current', logging.WARNING)
        return None


def _labels(
    content: Mapping[str, Any], ann_file: str | os.PathLike[str], sides: int
) -> tuple[np.ndarray, list[str]]:
    """Count the instances of each class in each image, (images, classes); returns names, too."""
    try:
        rows = {entry['id']: row for row, entry in enumerate(content['images'])}
        columns = {entry['id']: column for column, entry in enumerate(content['categories'])}
        names = [str(entry['name']) for entry in content['categories']]
        files = [entry['file_name'] for entry in content['images']]
        pairs = [(rows[a['image_id']], columns[a['category_id']]) for a in content['annotations']]
    except (KeyError, TypeError) as error:
        raise AnnotationError(
            f"'{ann_file}' cannot be divided: an entry has no {error}, or speaks of an image or "
            f"category {error} that is not in the file. 'rs4d check' lists all that is wrong."
        ) from error
    if len(rows) < max(sides, len(files)):
        few = 'has images with the same id' if len(rows) < len(files) else f'has {len(rows)} images'
        raise AnnotationError(f"'{ann_file}' {few}, and cannot be divided into {sides} parts.")
    labels = np.zeros((len(files), len(names)), np.int64)
    np.add.at(labels, tuple(np.array(pairs, np.int64).reshape(-1, 2).T), 1)
    return labels, names


def _by_chance(
    groups: Sequence[Sequence[int]], labels: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Divide some times, and return the side of each image where it is the most even."""
    draws = (stratify(groups, labels, shares, seed * _DRAWS + draw) for draw in range(_DRAWS))
    return min(draws, key=lambda side_of: balance(labels, side_of, shares))


def _by_blocks(
    tiles: Sequence[Tile],
    groups: Sequence[Sequence[int]],
    labels: np.ndarray,
    sides: Mapping[str, float],
    division: Division,
) -> np.ndarray:
    """Draw blocks until classes are even; returns the side of each image, -1 for none."""
    best, least = None, np.inf
    failure: TilingError | None = None
    for draw in range(_BLOCK_DRAWS):
        try:
            side_of = _draw_blocks(tiles, sides, division, division.seed * _BLOCK_DRAWS + draw)
        except TilingError as error:
            failure = error
            continue
        _drop_copies(groups, side_of)
        cost = balance(labels, side_of, list(sides.values()))
        if cost < least:
            best, least = side_of, cost
    if best is None:
        raise SplitError(
            f'No choice of blocks leaves objects on every side. {failure}'
        ) from failure
    return best


def _draw_blocks(
    tiles: Sequence[Tile], sides: Mapping[str, float], division: Division, seed: int
) -> np.ndarray:
    """Take away the blocks of one side after the other; what is left is for the first."""
    side_of = np.full(len(tiles), -1)
    rest, left = list(range(len(tiles))), 1.0
    for number, share in reversed(list(enumerate(sides.values()))):
        if number == 0:
            side_of[rest] = 0
            break
        options = SplitOptions(share / left, division.block, division.guard, 1.0, seed)
        parts = divide([tiles[item] for item in rest], options)
        side_of[[rest[item] for item in parts['val']]] = number
        rest, left = [rest[item] for item in parts['train']], left - share
    return side_of


def _drop_copies(groups: Sequence[Sequence[int]], side_of: np.ndarray) -> None:
    """Of copies on several sides, keep those on the last side, where models are scored."""
    for group in groups:
        sides = side_of[list(group)]
        for item, side in zip(group, sides, strict=True):
            if side < sides.max():
                side_of[item] = -1


def _part(
    content: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], chosen: np.ndarray
) -> dict[str, Any]:
    """The content of a side's file; what else the file has goes to all of them."""
    images = [entry for entry, take in zip(entries, chosen, strict=True) if take]
    ids = {entry['id'] for entry in images}
    annotations = [a for a in content['annotations'] if a['image_id'] in ids]
    return dict(content) | dict(images=images, annotations=annotations)
