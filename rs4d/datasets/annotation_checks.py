"""All that can be wrong inside of a COCO annotation file, found without opening an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .report import ERROR, WARNING, Finding, Findings

IMAGE_KEYS = ('id', 'file_name', 'width', 'height')
CATEGORY_KEYS = ('id', 'name')
ANNOTATION_KEYS = ('id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation')
_SECTIONS = dict(images=IMAGE_KEYS, categories=CATEGORY_KEYS, annotations=ANNOTATION_KEYS)

# Pixels by which a box or polygon may reach beyond its image: some tools count from 1.
_SLACK = 1
_CONVERT = 'Convert the annotations again.'
_KINDS = {
    'missing keys': (
        ERROR,
        'The entry cannot be used. Add what is missing, or convert the annotations again.',
    ),
    'duplicate ids': (
        ERROR,
        'Of entries with the same id one hides the other. Number them anew (files that were merged '
        'by hand often keep both numberings).',
    ),
    'file listed twice': (
        WARNING,
        'The instances of one image are spread over several entries, so that detections of the '
        'others count as false. Merge the entries.',
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
        'A further polygon of an instance has fewer than three points and adds nothing. Remove it.',
    ),
    'no segmentation': (
        ERROR,
        'Without a polygon or mask there is no mask AP. Remove the instance or draw it.',
    ),
    'polygons outside': (
        WARNING,
        'The polygons of the instance do not touch its image, so its mask is empty.',
    ),
    'masks of another size': (
        ERROR,
        f'The mask (RLE) does not have the size of its image. {_CONVERT}',
    ),
    'no usable instance': (
        ERROR,
        'Nothing can be learned or scored. Check that it is the file meant, that its categories are '
        "the config's, and that boxes and areas are in pixels rather than in fractions of the "
        'image.',
    ),
}


def structure_findings(coco: Mapping[str, Any], subset: str) -> list[Finding]:
    """Find entries that lack what instance segmentation needs, and ids that are not unique.

    Args:
        coco: Content of an annotation file, with the three lists of COCO.
        subset: The data set's name in the report.

    Returns:
        The findings.
    """
    found = Findings(subset, _KINDS)
    for section, keys in _SECTIONS.items():
        whole = []
        for position, entry in enumerate(coco[section]):
            missing = [k for k in keys if not isinstance(entry, Mapping) or k not in entry]
            if missing:
                found.add('missing keys', f'{section}[{position}] lacks {", ".join(missing)}')
            else:
                whole.append(entry)
        for name, count in _repeated(entry['id'] for entry in whole):
            for _ in range(count - 1):
                found.add('duplicate ids', f'id {name!r} more than once in {section}')
        if section == 'images':
            for name, _ in _repeated(entry['file_name'] for entry in whole):
                found.add('file listed twice', str(name))
        if section == 'categories':
            for name, _ in _repeated(entry['name'] for entry in whole):
                found.add('category named twice', str(name))
    return found.all()


def without_broken_entries(coco: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Keep the entries that have all keys, so that the rest of a broken file can be checked.

    Args:
        coco: Content of an annotation file.

    Returns:
        The three lists of COCO.
    """
    return {
        section: [
            dict(e) for e in coco[section] if isinstance(e, Mapping) and e.keys() >= set(keys)
        ]
        for section, keys in _SECTIONS.items()
    }


def instance_findings(
    coco: Mapping[str, Any], classes: Sequence[str], subset: str
) -> list[Finding]:
    """Find what is wrong with images' sizes, boxes and masks.

    Args:
        coco: Content of an annotation file whose entries have all keys.
        classes: The class names whose instances are used; none means all.
        subset: The data set's name in the report.

    Returns:
        The findings.
    """
    found = Findings(subset, _KINDS)
    sizes: dict[Any, tuple[int, int] | None] = {}
    for image in coco['images']:
        width, height = image['width'], image['height']
        if all(isinstance(side, int) and side > 0 for side in (width, height)):
            sizes[image['id']] = (width, height)
        else:
            found.add('image without a size', f'{image["file_name"]}: {width!r} x {height!r}')
            sizes[image['id']] = None
    names = {category['id']: category['name'] for category in coco['categories']}
    used = beyond = 0
    first_beyond = []
    for annotation in coco['annotations']:
        where = f'annotation {annotation["id"]!r}'
        if annotation['image_id'] not in sizes:
            found.add('unknown image_id', f'{where} has image_id {annotation["image_id"]!r}')
            continue
        if annotation['category_id'] not in names:
            key = annotation['category_id']
            found.add('unknown category_id', f'{where} has category_id {key!r}')
            continue
        size = sizes[annotation['image_id']]
        if (classes and names[annotation['category_id']] not in classes) or size is None:
            continue
        state = _check_box(found, annotation, size, where)
        if state == 'unusable':
            continue
        used += 1
        if state == 'beyond':
            beyond += 1
            first_beyond.append(f'{where}: {annotation["bbox"]} in {size[0]}x{size[1]}')
        _check_segmentation(found, annotation['segmentation'], size, where)
    crossed = beyond + found.count('boxes outside')
    check = 'two corners' if crossed > (used + found.count('boxes outside')) / 2 else None
    for example in first_beyond:
        found.add(check or 'boxes beyond the edge', example)
    if used == 0 and not found.count('malformed boxes'):
        dropped = found.count('empty boxes') + found.count('boxes outside')
        images, total = len(sizes), len(coco['annotations'])
        found.add('no usable instance', f'{images} images, {total} annotations, {dropped} left out')
    return found.all()


def _check_box(
    found: Findings, annotation: Mapping[str, Any], size: tuple[int, int], where: str
) -> str:
    box = annotation['bbox']
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(v, int | float) and v == v for v in box)
    ):
        found.add('malformed boxes', f'{where} has the bbox {box!r}')
        return 'unusable'
    x, y, width, height = box
    if width < 1 or height < 1 or annotation['area'] <= 0:
        found.add('empty boxes', f'{where}: bbox {box}, area {annotation["area"]}')
        return 'unusable'
    if min(x + width, size[0]) <= max(x, 0) or min(y + height, size[1]) <= max(y, 0):
        found.add('boxes outside', f'{where}: {box} in {size[0]}x{size[1]}')
        return 'unusable'
    if x + width > size[0] + _SLACK or y + height > size[1] + _SLACK or x < -_SLACK or y < -_SLACK:
        return 'beyond'
    return 'inside'


def _check_segmentation(
    found: Findings, segmentation: Any, size: tuple[int, int], where: str
) -> None:
    if isinstance(segmentation, Mapping):
        rle = list(segmentation.get('size', []))
        if rle != [size[1], size[0]]:
            found.add('masks of another size', f'{where}: {rle}, image {[size[1], size[0]]}')
        return
    if not segmentation or not isinstance(segmentation, list):
        found.add('no segmentation', where)
        return
    if not all(isinstance(polygon, list) for polygon in segmentation):
        found.add('polygons under three points', f'{where}: not a list of polygons')
        return
    inside = False
    for number, polygon in enumerate(segmentation):
        if len(polygon) < 6 or len(polygon) % 2:
            # COCO's own code looks at the first polygon to decide what it has before it.
            check = 'small second polygons' if number else 'polygons under three points'
            found.add(check, f'{where}: {len(polygon)} numbers')
            inside = True
            continue
        xs, ys = polygon[0::2], polygon[1::2]
        inside |= max(xs) > 0 and max(ys) > 0 and min(xs) < size[0] and min(ys) < size[1]
    if not inside:
        found.add('polygons outside', where)


def _repeated(names: Any) -> list[tuple[Any, int]]:
    return [(name, count) for name, count in Counter(names).items() if count > 1]
