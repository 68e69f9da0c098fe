"""All that can be wrong inside of a COCO annotation file, found without opening an image."""

import os
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from .errors import AnnotationError
from .masks import LIMIT, MaskTable, numbers, off_their_boxes
from .report import ERROR, WARNING, Finding, Findings

_SECTIONS = dict(
    images=('id', 'file_name', 'width', 'height'),
    categories=('id', 'name'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation'),
)
_IDS = ('id', 'image_id', 'category_id')
_NAMES = ('file_name', 'name')
_MOST_AREA = LIMIT**2

# Pixels by which a box may reach beyond its image: some tools count from 1.
_SLACK = 1
_CONVERT = 'Convert the annotations again.'
_KINDS = {
    'missing keys': (
        ERROR,
        'The entry cannot be used. Add what is missing, or convert the annotations again.',
    ),
    'duplicate ids': (
        ERROR,
        'Of entries with the same id one hides the other. Number them anew.',
    ),
    'file listed twice': (
        WARNING,
        'The instances of one image are spread over several entries, so that detections of the '
        'others count as false. Merge the entries.',
    ),
    'malformed ids': (
        ERROR,
        'An id has to be a whole number, or a text, of one kind in a list; names of files and '
        'categories have to be texts.',
    ),
    'category named twice': (ERROR, 'Two ids mean the same class. Merge the categories.'),
    'image without a size': (
        ERROR,
        'width and height have to be whole numbers above 0. Write the sizes of the files.',
    ),
    'unknown image_id': (ERROR, f'The file does not define the image. {_CONVERT}'),
    'unknown category_id': (ERROR, f'The file does not define the category. {_CONVERT}'),
    'malformed boxes': (
        ERROR,
        f'A bbox has to be four numbers [x, y, width, height] in pixels. {_CONVERT}',
    ),
    'malformed areas': (ERROR, f'An area has to be a number of pixels. {_CONVERT}'),
    'malformed flags': (
        ERROR,
        'iscrowd and ignore have to be 0 or 1; anything else, as the text "0", counts as 1. Write '
        'numbers.',
    ),
    'empty boxes': (
        WARNING,
        'A side below one pixel or an area of 0: MMDetection leaves these instances out without a '
        'word. Remove or correct them.',
    ),
    'boxes outside': (
        WARNING,
        'The box does not touch its image: MMDetection leaves the instance out without a word. '
        'Remove or correct it.',
    ),
    'boxes beyond the edge': (WARNING, 'They are cut at the edge, in training only. Clip them.'),
    'two corners': (
        ERROR,
        'Most boxes reach beyond their images. COCO boxes are [x, y, width, height] in pixels; '
        'these look like two corners [x1, y1, x2, y2], or belong to images of another size. '
        'Convert the boxes.',
    ),
    'polygons under three points': (
        ERROR,
        "COCO's evaluation stops at such an instance, or scores an empty mask. Remove the instance, "
        'or the polygon.',
    ),
    'small second polygons': (
        WARNING,
        'A further polygon of an instance has under three points and adds nothing. Remove it.',
    ),
    'malformed polygons': (
        ERROR,
        'A segmentation has to be lists [x, y, x, y, ...] of finite numbers in pixels, or run '
        f'lengths. {_CONVERT}',
    ),
    'malformed masks': (
        ERROR,
        "The run lengths (RLE) are missing, damaged, or don't sum to the pixels of the image. "
        f'{_CONVERT}',
    ),
    'empty masks': (
        ERROR,
        'The points of the polygons lie on a line, or the run lengths have no pixel. Remove the '
        'instance or draw it.',
    ),
    'masks off their boxes': (
        ERROR,
        'Mask and box overlap by less than a quarter. Rows and columns may be exchanged, '
        'coordinates may be fractions of the image, or boxes given by their centre; COCO has [x, '
        'y, width, height] from the upper left corner, and points as x before y, in pixels.',
    ),
    'no segmentation': (
        ERROR,
        'Without a polygon or mask there is no mask AP. Remove the instance or draw it.',
    ),
    'masks of another size': (
        ERROR,
        f'The mask (RLE) does not have the size of its image. {_CONVERT}',
    ),
    'no usable instance': (
        ERROR,
        'Nothing can be learned or scored. Check that it is the file meant, that its categories are '
        "the config's, that not all instances are marked iscrowd or ignore, and that boxes and "
        'areas are in pixels rather than in fractions of the image.',
    ),
    'categories': (
        ERROR,
        "They do not match the config's classes. Point ann_file at the right file, use the data set "
        'class made for it, or give the data set the classes that the file has: '
        "metainfo=dict(classes=(...)), in the file's order, and the heads' num_classes to match.",
    ),
    'order of categories': (
        ERROR,
        'Labels are numbered in the order of the file, so names would be given to the wrong '
        "classes. Write metainfo=dict(classes=(...)) in the file's order.",
    ),
    'classes without instances': (
        WARNING,
        'Their AP is -1 and the mean leaves them out. Check the split, or leave the classes out.',
    ),
}


@dataclass
class CheckedAnnotations:
    """What an annotation file holds that can be used, and what is wrong with it.

    Attributes:
        findings: All faults.
        images: The images that are described as they have to be.
        used: The annotations of the config's classes that are trained on and scored.
    """

    findings: list[Finding]
    images: list[dict[str, Any]]
    used: list[dict[str, Any]]

    def refuse(self, ann_file: str | os.PathLike, log: bool = True) -> None:
        """Raise with all that is fatal, and log the rest.

        Args:
            ann_file: The file's path, for messages.
            log: Whether warnings are logged.

        Raises:
            AnnotationError: At least one finding is an error.
        """
        fatal = [finding for finding in self.findings if finding.fatal]
        if fatal:
            listed = ' '.join(finding.sentence() for finding in fatal)
            raise AnnotationError(
                f"The annotation file '{ann_file}' cannot be used as it is: {listed} "
                'tools/analysis_tools/check_dataset.py lists all that is wrong with a data set.'
            )
        for finding in self.findings if log else ():
            MMLogger.get_current_instance().warning(f"'{ann_file}': {finding.sentence()}")


def check_annotations(
    coco: Mapping[str, Any], classes: Sequence[str], allow_more: bool = True, subset: str = ''
) -> CheckedAnnotations:
    """Check every entry, number and mask of an annotation file.

    MMDetection numbers labels in the file's order and drops categories that it does not know without
    a word, which shows only as an average precision of 0; hence also the order is checked.

    Args:
        coco: Content of the file, with the three lists of COCO.
        classes: The class names whose instances are used; none means all.
        allow_more: Whether the file may have other categories, whose instances are left out.
        subset: The data set's name in the report.

    Returns:
        The findings, and what can be used.
    """
    found = Findings(subset, _KINDS)
    whole = {section: _whole_entries(found, section, coco[section]) for section in _SECTIONS}
    if classes:
        _check_categories(found, [c['name'] for c in whole['categories']], classes, allow_more)
    names = {c['id']: c['name'] for c in whole['categories']}
    used = _check_instances(found, whole, names, set(classes or names.values()))
    seen = {names[annotation['category_id']] for annotation in used}
    idle = [name for name in classes or names.values() if name in names.values()]
    idle = [name for name in idle if name not in seen]
    if used:
        found.add_all('classes without instances', idle, str)
    return CheckedAnnotations(found.all(), whole['images'], used)


def _whole_entries(found: Findings, section: str, entries: list[Any]) -> list[dict[str, Any]]:
    """Return the entries that have all keys, and ids and names of the right kind."""
    keys = set(_SECTIONS[section])
    ids, texts = keys.intersection(_IDS), keys.intersection(_NAMES)
    whole = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or not keys <= entry.keys():
            missing = [
                k for k in _SECTIONS[section] if not isinstance(entry, dict) or k not in entry
            ]
            found.add('missing keys', f'{section}[{position}] lacks {", ".join(missing)}')
            continue
        wrong = [k for k in ids if not _is_id(entry[k])]
        wrong += [k for k in texts if not isinstance(entry[k], str)]
        if wrong:
            found.add('malformed ids', f'{section}[{position}] has {wrong[0]}={entry[wrong[0]]!r}')
        else:
            whole.append(entry)
    if len({isinstance(entry['id'], str) for entry in whole}) > 1:
        found.add('malformed ids', f'{section} has numbers and texts as ids')
    for name, count in _repeated(entry['id'] for entry in whole):
        for _ in range(count - 1):
            found.add('duplicate ids', f'id {name!r} more than once in {section}')
    if section == 'images':
        found.add_all('file listed twice', _repeated(e['file_name'] for e in whole), _first)
    if section == 'categories':
        found.add_all('category named twice', _repeated(e['name'] for e in whole), _first)
    return whole


def _is_id(value: Any) -> bool:
    if type(value) is float:
        return value.is_integer()
    return type(value) is str or (type(value) is int and abs(value) < 1 << 62)


def _check_categories(
    found: Findings, in_file: list[str], classes: Sequence[str], allow_more: bool
) -> None:
    shared = [name for name in in_file if name in classes]
    if set(shared) != set(classes) or (not allow_more and len(shared) < len(in_file)):
        found.add('categories', f'the config has {list(classes)}, the file has {in_file}')
    elif shared != list(classes):
        found.add('order of categories', f'the config has {list(classes)}, the file has {in_file}')


def _check_instances(
    found: Findings, whole: Mapping[str, list[Any]], names: Mapping[Any, str], classes: set[str]
) -> list[dict[str, Any]]:
    """Check sizes of images, boxes, flags and masks; return the annotations that can be used."""
    sizes: dict[Any, tuple[int, int] | None] = {}
    for image in whole['images']:
        width, height = image['width'], image['height']
        good = all(type(side) is int and 0 < side <= LIMIT for side in (width, height))
        sizes[image['id']] = (width, height) if good else None
        if not good:
            found.add('image without a size', f'{image["file_name"]}: {width!r} x {height!r}')
    taken: list[dict[str, Any]] = []
    values = array('d')
    for annotation in whole['annotations']:
        row = _numbers_of(found, annotation, sizes, names)
        if row is not None and names[annotation['category_id']] in classes:
            taken.append(annotation)
            values.extend(row)
    x, y, width, height, area, skipped, right, bottom = np.array(values).reshape(-1, 8).T

    def describe(i: int) -> str:
        image = f'{right[i]:.0f}x{bottom[i]:.0f}'
        return f'{_name(taken[i])}: bbox {taken[i]["bbox"]}, area {area[i]:g}, in {image}'

    empty = (width < 1) | (height < 1) | (area <= 0)
    outside = (np.minimum(x + width, right) <= np.maximum(x, 0)) | (
        np.minimum(y + height, bottom) <= np.maximum(y, 0)
    )
    outside &= ~empty
    inside = ~(empty | outside)
    beyond = inside & (
        (x + width > right + _SLACK)
        | (y + height > bottom + _SLACK)
        | (x < -_SLACK)
        | (y < -_SLACK)
    )
    crossed = beyond.sum() + outside.sum() > (inside.sum() + outside.sum()) / 2
    found.add_all('empty boxes', np.flatnonzero(empty), describe)
    found.add_all('boxes outside', np.flatnonzero(outside), describe)
    two_corners = 'two corners' if crossed else 'boxes beyond the edge'
    found.add_all(two_corners, np.flatnonzero(beyond), describe)

    masks = MaskTable(lambda check, i, what: found.add(check, f'{_name(taken[i])}: {what}'))
    for i, annotation in enumerate(taken):
        masks.add(i, annotation['segmentation'], int(right[i]), int(bottom[i]))
    extents, solid = masks.measure(len(taken))
    hollow = ~solid & ~np.isnan(extents[:, 0])
    found.add_all('empty masks', np.flatnonzero(hollow), lambda i: _name(taken[i]))
    boxes = np.c_[x, y, x + width, y + height]
    off = inside & ~hollow & off_their_boxes(extents, boxes, np.c_[right, bottom])
    found.add_all(
        'masks off their boxes',
        np.flatnonzero(off),
        lambda i: f'{describe(i)}, mask from {extents[i, :2]} to {extents[i, 2:]}',
    )
    used = np.flatnonzero(inside & (skipped == 0))
    if not len(used) and not found.count('malformed boxes'):
        found.add(
            'no usable instance',
            f'{len(sizes)} images, {len(whole["annotations"])} annotations, {empty.sum()} with an '
            f'empty box, {outside.sum()} outside, {(skipped > 0).sum()} with iscrowd or ignore',
        )
    return [taken[i] for i in used]


def _numbers_of(
    found: Findings,
    annotation: Mapping[str, Any],
    sizes: Mapping[Any, tuple[int, int] | None],
    names: Mapping[Any, str],
) -> list[float] | None:
    """Return box, area, whether it is left out, width and height of the image; None if unusable."""
    image, category = annotation['image_id'], annotation['category_id']
    box, area = numbers(annotation['bbox']), annotation['area']
    flags = [annotation.get(name, 0) for name in ('iscrowd', 'ignore')]
    if image not in sizes:
        found.add('unknown image_id', f'{_name(annotation)} has image_id {image!r}')
    elif category not in names:
        found.add('unknown category_id', f'{_name(annotation)} has category_id {category!r}')
    elif box is None or len(box) != 4 or not all(-LIMIT <= v <= LIMIT for v in box):
        found.add('malformed boxes', f'{_name(annotation)} has the bbox {annotation["bbox"]!r}')
    elif type(area) not in (int, float) or not -_MOST_AREA <= area <= _MOST_AREA:
        found.add('malformed areas', f'{_name(annotation)} has the area {area!r}')
    elif any(flag not in (0, 1) for flag in flags):
        found.add('malformed flags', f'{_name(annotation)} has iscrowd and ignore {flags}')
    else:
        size = sizes[image]
        return None if size is None else [*box, area, any(flags), *size]
    return None


def _name(annotation: Mapping[str, Any]) -> str:
    return f'annotation {annotation["id"]!r}'


def _first(pair: tuple[Any, int]) -> str:
    return str(pair[0])


def _repeated(names: Any) -> list[tuple[Any, int]]:
    return [(name, count) for name, count in Counter(names).items() if count > 1]
