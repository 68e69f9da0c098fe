"""The one reader of COCO annotation files, and the index that training and evaluation look into."""

import contextlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.datasets.api_wrappers import COCO
from mmengine.fileio import get

from .errors import AnnotationError, DatasetNotFoundError

SECTIONS = ('images', 'annotations', 'categories')


def read_coco(
    ann_file: str | os.PathLike, remedy: str, backend_args: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Read an annotation file with the three lists of COCO, whatever their entries are.

    Args:
        ann_file: The JSON file, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        remedy: What to do when it is missing.
        backend_args: MMEngine's file backend, for files that do not lie on a disk.

    Returns:
        The file's content with the keys ``images``, ``annotations`` and ``categories``.

    Raises:
        DatasetNotFoundError: The file is absent or cannot be read.
        AnnotationError: It is not JSON, or not COCO instances.
    """
    if backend_args is None and not Path(ann_file).is_file():
        raise DatasetNotFoundError(f"The annotation file '{ann_file}' does not exist. {remedy}")
    again = 'It ends too early, as one that was cut off while it was copied: get it again.'
    try:
        text = get(ann_file, backend_args)
        if not text.strip():
            raise AnnotationError(f"The annotation file '{ann_file}' is empty: get it again.")
        content = json.loads(text)
    except OSError as error:
        raise DatasetNotFoundError(
            f"The annotation file '{ann_file}' cannot be read: {error.strerror or error}. {remedy}"
        ) from error
    except UnicodeDecodeError as error:
        if error.reason in ('unexpected end of data', 'truncated data'):
            raise AnnotationError(
                f"The annotation file '{ann_file}' is not valid JSON ({error.reason}). {again}"
            ) from error
        raise AnnotationError(
            f"The annotation file '{ann_file}' is no Unicode text: byte {error.start} is "
            f'0x{error.object[error.start]:02x}. It was written in another encoding, as GBK or '
            'Latin-1, or it is no text; save it as UTF-8 (iconv -f GBK -t UTF-8).'
        ) from error
    except (ValueError, RecursionError) as error:
        cut = isinstance(error, json.JSONDecodeError) and _is_cut(error)
        why = again if cut else 'It is another kind of file, or was damaged: get it again.'
        raise AnnotationError(
            f"The annotation file '{ann_file}' is not valid JSON ({error}). {why}"
        ) from error
    if not isinstance(content, dict) or any(not isinstance(content.get(k), list) for k in SECTIONS):
        found = sorted(content) if isinstance(content, dict) else f'a {type(content).__name__}'
        raise AnnotationError(
            f"The annotation file '{ann_file}' is JSON but not COCO: expected an object with the "
            f'lists {", ".join(SECTIONS)}, found {found}. Convert the annotations to COCO '
            'instances, or point ann_file at the right file.'
        )
    return content


@dataclass(frozen=True)
class CocoSummary:
    """What is asked of an annotation file before its data set is built.

    Attributes:
        classes: Names of its categories, in the order of its list.
        first_image: The ``file_name`` of its first image that has one.
    """

    classes: tuple[str, ...]
    first_image: str | None


_summaries: dict[tuple[str, int, int], CocoSummary] = {}


def summarise_coco(
    ann_file: str | os.PathLike, remedy: str, backend_args: dict[str, Any] | None = None
) -> CocoSummary:
    """Read what an annotation file is about; one on a disk is read anew only if it has changed.

    Raises:
        DatasetNotFoundError: See :func:`read_coco`.
        AnnotationError: See :func:`read_coco`.
    """
    key = None
    if backend_args is None and Path(ann_file).is_file():
        state = os.stat(ann_file)
        key = os.path.realpath(ann_file), state.st_mtime_ns, state.st_size
        if key in _summaries:
            return _summaries[key]
    content = read_coco(ann_file, remedy, backend_args)
    images = [entry for entry in content['images'] if isinstance(entry, dict)]
    files = (entry['file_name'] for entry in images if isinstance(entry.get('file_name'), str))
    summary = CocoSummary(category_names(content), next(files, None))
    if key is not None:
        _summaries[key] = summary
    return summary


def category_names(content: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of a file's categories in the order of its list, those that are names."""
    entries = [entry for entry in content['categories'] if isinstance(entry, dict)]
    names = [entry['name'] for entry in entries if isinstance(entry.get('name'), str)]
    return tuple(dict.fromkeys(names))


def _is_cut(error: json.JSONDecodeError) -> bool:
    """Whether what stands before the end of the text is the beginning of JSON."""
    rest = error.doc[error.pos :].strip()
    if error.msg.startswith('Invalid \\uXXXX'):
        return '"' not in rest
    words = ('true', 'false', 'null', 'NaN', '-Infinity')
    return error.msg.startswith('Unterminated') or any(word.startswith(rest) for word in words)


class CocoIndex(COCO):
    """The content of a checked annotation file, by image, annotation and category.

    It differs from pycocotools' own index in what would make scores wrong: annotations are numbered
    from 1, as the evaluation takes the id 0 for "no match"; ``iscrowd`` is there, 1 also where
    ``ignore`` is, where a box is empty or outside of its image or a mask is empty, so that what a
    training leaves out is neither hit nor missed; and no predictions are an answer, too. Nothing is
    printed.

    Args:
        content: What :func:`read_coco` returns, checked; its entries are changed in place.
        without_mask: Those of its annotations that the check found to have an empty mask.
    """

    def __init__(
        self, content: dict[str, Any], without_mask: Sequence[dict[str, Any]] = ()
    ) -> None:
        for annotation in without_mask:
            annotation['iscrowd'] = 1
        for image in content['images']:  # pycocotools takes no 640.0
            image.update(width=int(image['width']), height=int(image['height']))
        images = {image['id']: image for image in content['images']}
        for number, annotation in enumerate(content['annotations'], 1):
            crowd = annotation.get('iscrowd', 0) or annotation.pop('ignore', 0)
            crowd = crowd or _unusable(annotation, images[annotation['image_id']])
            annotation.update(id=number, iscrowd=int(crowd))
        self._fill(self, dict(info={}) | content)
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def loadRes(self, resFile: Any) -> Any:
        """Index predictions: a list of COCO results, which may be empty, or a file with one."""
        with contextlib.redirect_stdout(io.StringIO()):
            if isinstance(resFile, list) and not resFile:
                return self._fill(COCO(), dict(self.dataset, annotations=[]))
            return super().loadRes(resFile)

    @staticmethod
    def _fill(index: COCO, content: dict[str, Any]) -> COCO:
        index.dataset = content
        with contextlib.redirect_stdout(io.StringIO()):
            index.createIndex()
        return index


def _unusable(annotation: dict[str, Any], image: dict[str, Any]) -> bool:
    """Whether MMDetection leaves the instance out: its box is empty, or outside of the image."""
    x, y, width, height = annotation['bbox']
    across = min(x + width, image['width']) - max(x, 0)
    down = min(y + height, image['height']) - max(y, 0)
    return min(width, height) < 1 or annotation['area'] <= 0 or min(across, down) <= 0
