"""What can be wrong in annotation files: how bad it is, what it does, and what to do."""

from .report import ERROR, WARNING

_CONVERT = 'Convert the annotations again.'
ANNOTATION_FAULTS = {
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
        'categories have to be texts that can be a name.',
    ),
    'category named twice': (ERROR, 'Two ids mean the same class. Merge the categories.'),
    'image without a size': (
        ERROR,
        'width and height have to be whole numbers above 0. Write the sizes of the files.',
    ),
    'size as text': (
        ERROR,
        'width and height are texts, but have to be numbers: 640 rather than "640".',
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
        'A side below one pixel or an area of 0: these instances are left out, in training and in '
        'the score. Remove or correct them.',
    ),
    'boxes outside': (
        WARNING,
        'The box does not touch its image: the instance is left out, in training and in the score. '
        'Remove or correct it.',
    ),
    'boxes beyond the edge': (WARNING, 'They are cut at the edge, in training only. Clip them.'),
    'two corners': (
        ERROR,
        'Most boxes reach beyond their images, or beyond their masks. COCO boxes are [x, y, width, '
        'height] in pixels; these look like two corners [x1, y1, x2, y2], or belong to images of '
        'another size. Convert the boxes.',
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
        WARNING,
        'The points of the polygons lie on a line, as outlines of objects one pixel wide do, or the '
        'run lengths have no pixel: these instances are left out, in training and in the score. '
        'Remove or draw them.',
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
        "They do not match the config's classes. Point ann_file (--train, --val) at the right file, "
        'use the data set class made for it, or give the data set the classes that the file has, by '
        "--classes or metainfo=dict(classes=(...)), and the heads' num_classes to match.",
    ),
    'categories left out': (
        WARNING,
        'The classes in use leave them out: their instances are neither trained on nor scored. If that '
        'is not meant, train with them, named by --classes or metainfo=dict(classes=(...)).',
    ),
    'classes without instances': (
        WARNING,
        'Their AP is -1 and the mean leaves them out. Check the split, or leave the classes out.',
    ),
}
