"""All that can be wrong inside of a COCO annotation file, found without opening an image."""

import os
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from .annotation_faults import ANNOTATION_FAULTS
from .errors import AnnotationError
from .masks import LIMIT, MaskTable, numbers, overlaps
from .report import Finding, Findings

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

# Mask and box overlap at least by this; and by the second, where boxes are read as two corners.
_LEAST_IOU = 0.25
_FITS_IOU = 0.75


@dataclass
class CheckedAnnotations:
    """What an annotation file holds that can be used, and what is wrong with it.

    Attributes:
        findings: All faults.
        images: The images that are described as they have to be.
        used: The annotations of the config's classes that are trained on and scored.
        without_mask: Annotations that are left out because nothing lies within their outline.
    """

    findings: list[Finding]
    images: list[dict[str, Any]]
    used: list[dict[str, Any]]
    without_mask: list[dict[str, Any]]

    def refuse(self, ann_file: str | os.PathLike, log: bool = True) -> None:
        """Raise with all that is fatal, and log the rest if ``log`` says so.

        Raises:
            AnnotationError: At least one finding is an error.
        """
        fatal = [finding for finding in self.findings if finding.fatal]
        if fatal:
            listed = ' '.join(finding.sentence() for finding in fatal)
            raise AnnotationError(
                f"The annotation file '{ann_file}' cannot be used as it is: {listed} "
                "'rs4d check CONFIG' lists all that is wrong with its data sets."
            )
        for finding in self.findings if log else ():
            MMLogger.get_current_instance().warning(f"'{ann_file}': {finding.sentence()}")


def check_annotations(
    coco: Mapping[str, Any], classes: Sequence[str], allow_more: bool = True, subset: str = ''
) -> CheckedAnnotations:
    """Check every entry, number and mask of an annotation file.

    MMDetection drops categories that it does not know without a word, which shows only as an average
    precision of 0; here they are named. Their order is free: labels follow the classes.

    Args:
        coco: Content of the file, with the three lists of COCO.
        classes: The class names whose instances are used; none means all.
        allow_more: Whether the file may have other categories, whose instances are left out.
        subset: The data set's name in the report.
    """
    found = Findings(subset, ANNOTATION_FAULTS)
    whole = {section: _whole_entries(found, section, coco[section]) for section in _SECTIONS}
    if classes:
        _check_categories(found, [c['name'] for c in whole['categories']], classes, allow_more)
    names = {c['id']: c['name'] for c in whole['categories']}
    sizes = _check_sizes(found, whole['images'])
    classes_used = set(classes or names.values())
    used, without_mask = _check_instances(found, whole, names, classes_used, sizes)
    seen = {names[annotation['category_id']] for annotation in used}
    idle = [n for n in classes or names.values() if n in names.values() and n not in seen]
    if used:
        found.add_all('classes without instances', idle, str)
    sized = [image for image in whole['images'] if sizes[image['id']] is not None]
    return CheckedAnnotations(found.all(), sized, used, without_mask)


def _whole_entries(found: Findings, section: str, entries: list[Any]) -> list[dict[str, Any]]:
    """Return the entries that have all keys, and ids and names of the right kind."""
    keys = _SECTIONS[section]
    checks = [(k, _is_id) for k in keys if k in _IDS] + [(k, _is_name) for k in keys if k in _NAMES]
    whole = []
    for position, entry in enumerate(entries):
        missing = [k for k in keys if k not in entry] if isinstance(entry, dict) else keys
        if missing:
            found.add('missing keys', f'{section}[{position}] lacks {", ".join(missing)}')
            continue
        wrong = [k for k, good in checks if not good(entry[k])]
        if wrong:
            found.add('malformed ids', f'{section}[{position}] has {wrong[0]}={entry[wrong[0]]!r}')
        else:
            whole.append(entry)
    if len({isinstance(entry['id'], str) for entry in whole}) > 1:
        found.add('malformed ids', f'{section} has numbers and texts as ids')
    for name, count in Counter(entry['id'] for entry in whole).items():
        for _ in range(count - 1):
            found.add('duplicate ids', f'id {name!r} more than once in {section}')
    twins = dict(images='file listed twice', categories='category named twice')
    if section in twins:
        named = Counter(entry[k] for entry in whole for k in keys if k in _NAMES)
        found.add_all(twins[section], [name for name, count in named.items() if count > 1], str)
    return whole


def _is_id(value: Any) -> bool:
    if type(value) is float:
        return value.is_integer()
    return type(value) is str or (type(value) is int and abs(value) < 1 << 62)


def _is_name(value: Any) -> bool:
    # Some texts of JSON, as a lone surrogate, can be no name of a file.
    text = value.encode(errors='ignore').decode() if isinstance(value, str) else ''
    return text == value and text != '' and '\0' not in text


def _check_categories(
    found: Findings, in_file: list[str], classes: Sequence[str], allow_more: bool
) -> None:
    shared = [name for name in in_file if name in classes]
    if set(shared) != set(classes) or (not allow_more and len(shared) < len(in_file)):
        found.add('categories', f'the config has {list(classes)}, the file has {in_file}')
    elif len(shared) < len(in_file):
        found.add_all('categories left out', [n for n in in_file if n not in classes], str)


def _check_sizes(found: Findings, images: list[Any]) -> dict[Any, tuple[int, int] | None]:
    """Return width and height of images by id, None of those that have no such numbers."""
    sizes: dict[Any, tuple[int, int] | None] = {}
    for image in images:
        sides = image['width'], image['height']
        good = all(
            type(side) in (int, float) and 0 < side <= LIMIT and side == int(side) for side in sides
        )
        sizes[image['id']] = (int(sides[0]), int(sides[1])) if good else None
        if any(isinstance(side, str) for side in sides):
            found.add('size as text', f'{image["file_name"]}: {sides[0]!r} x {sides[1]!r}')
        elif not good:
            found.add('image without a size', f'{image["file_name"]}: {sides[0]!r} x {sides[1]!r}')
    return sizes


def _check_instances(
    found: Findings,
    whole: Mapping[str, list[Any]],
    names: Mapping[Any, str],
    classes: set[str],
    sizes: Mapping[Any, tuple[int, int] | None],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Check boxes, flags and masks; return the annotations to use, and those with an empty mask."""
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
    over = (x + width - right, y + height - bottom, -x, -y)
    beyond = inside & (np.maximum.reduce(over) > _SLACK)
    found.add_all('empty boxes', np.flatnonzero(empty), describe)
    found.add_all('boxes outside', np.flatnonzero(outside), describe)

    masks = MaskTable(lambda check, i, what: found.add(check, f'{_name(taken[i])}: {what}'))
    for i, annotation in enumerate(taken):
        masks.add(i, annotation['segmentation'], int(right[i]), int(bottom[i]))
    extents, solid = masks.measure(len(taken))
    hollow = ~solid & ~np.isnan(extents[:, 0])
    found.add_all('empty masks', np.flatnonzero(hollow), lambda i: _name(taken[i]))
    edges = np.c_[right, bottom]
    fit = overlaps(extents, np.c_[x, y, x + width, y + height], edges)
    as_corners = overlaps(extents, np.c_[x, y, width, height], edges)
    corners = inside & (as_corners >= _FITS_IOU) & (as_corners > fit + 0.1)
    most = (inside.sum() + outside.sum()) / 2
    crossed = beyond.sum() + outside.sum() > most
    # Of two corners, those near the far edge reach beyond it, and the others beyond their masks.
    if crossed or ((corners | beyond).sum() > most and corners.sum() > most / 2):
        found.add_all('two corners', np.flatnonzero(corners | beyond), describe)
        off = inside & ~hollow & ~corners & (fit < _LEAST_IOU)
    else:
        found.add_all('boxes beyond the edge', np.flatnonzero(beyond), describe)
        off = inside & ~hollow & (fit < _LEAST_IOU)
    found.add_all(
        'masks off their boxes',
        np.flatnonzero(off),
        lambda i: f'{describe(i)}, mask from {extents[i, :2]} to {extents[i, 2:]}',
    )
    used = np.flatnonzero(inside & (skipped == 0) & ~hollow)
    if not len(used) and (taken or not any(finding.fatal for finding in found.all())):
        found.add(
            'no usable instance',
            f'{len(sizes)} images, {len(whole["annotations"])} annotations, {empty.sum()} with an '
            f'empty box, {outside.sum()} outside, {hollow.sum()} with an empty mask, '
            f'{(skipped > 0).sum()} with iscrowd or ignore',
        )
    return [taken[i] for i in used], [taken[i] for i in np.flatnonzero(hollow)]


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
