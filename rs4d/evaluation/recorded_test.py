"""What a test leaves for its report: the truth as it was scored, all predictions, and its figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from rs4d.datasets.annotation_checks import check_annotations
from rs4d.datasets.coco_file import CocoIndex, read_coco
from rs4d.errors import UserError
from rs4d.files import write_json

from .results_file import read_results

TRUTH, PREDICTIONS, METRICS = 'truth.json', 'predictions.json', 'metrics.json'


class RecordedTestError(UserError, ValueError):
    """A folder holds no test, or files that do not belong together."""


@dataclass(frozen=True)
class RecordedTest:
    """A test as it lies in a folder.

    Attributes:
        folder: The folder.
        truth: The images that were scored, with ``path`` where the file was, and their instances.
        predictions: COCO results; all with masks, or none.
        metrics: The figures that the test itself has written, and what else it said; empty if there
            is no such file.
    """

    folder: Path
    truth: CocoIndex
    predictions: list[dict[str, Any]]
    metrics: dict[str, Any]

    @property
    def has_masks(self) -> bool:
        """Whether masks can be scored."""
        return all('segmentation' in found for found in self.predictions)


def write_truth(folder: Path, coco: CocoIndex, paths: dict[Any, str]) -> None:
    """Write the truth of some images.

    Args:
        folder: Where to.
        coco: The truth.
        paths: The file of each image that was scored, by its id; empty where it is not known.
    """
    images = [
        coco.imgs[key] | ({'path': str(Path(path).absolute())} if path else {})
        for key, path in paths.items()
    ]
    annotations = [annotation for key in paths for annotation in coco.imgToAnns[key]]
    content = dict(images=images, annotations=annotations, categories=coco.dataset['categories'])
    write_json(folder / TRUTH, content)


def write_predictions(
    folder: Path, results: Sequence[dict[str, Any]], category_ids: Sequence[Any]
) -> None:
    """Write predictions as COCO results, with all digits that they have.

    Args:
        folder: Where to.
        results: For each image ``img_id``, ``bboxes`` (N, 4) as left, top, right and bottom,
            ``scores``, ``labels``, and where there are any ``masks`` as run lengths and
            ``mask_scores``.
        category_ids: The category of each label.
    """
    predictions = []
    for image in results:
        boxes = image['bboxes'].astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        columns = [image['labels'].tolist(), image['scores'].tolist(), boxes.tolist()]
        for number, (label, score, box) in enumerate(zip(*columns, strict=True)):
            entry = dict(
                image_id=image['img_id'], category_id=category_ids[label], score=score, bbox=box
            )
            if 'masks' in image:
                mask = image['masks'][number]
                counts = mask['counts']
                counts = counts.decode('ascii') if isinstance(counts, bytes) else counts
                size = [int(side) for side in mask['size']]
                entry['segmentation'] = dict(size=size, counts=counts)
            if 'mask_scores' in image:
                entry['mask_score'] = float(image['mask_scores'][number])
            predictions.append(entry)
    write_json(folder / PREDICTIONS, predictions)


def find_test(path: str | Path) -> Path:
    """Return the folder of a test: ``path``, or the newest one below a work dir.

    Raises:
        RecordedTestError: There is none.
    """
    path = Path(path)
    if (path / PREDICTIONS).is_file():
        return path
    tests = [file.parent for file in path.glob(f'*/{PREDICTIONS}')]
    if not tests:
        raise RecordedTestError(
            f"'{path}' holds no test: neither it nor a folder in it has a {PREDICTIONS}. Name the "
            'work dir of `rs4d test`, or a folder with that file and a truth.json.'
        )
    return max(tests, key=lambda folder: folder.stat().st_mtime)


def read_test(path: str | Path) -> RecordedTest:
    """Read a test from its folder, or the newest one from a work dir.

    Raises:
        UserError: There is none, or a file is missing, damaged or of another test.
    """
    folder = find_test(path)
    content = read_coco(folder / TRUTH, 'It lies beside the predictions; run the test again.')
    check_annotations(content, ()).refuse(folder / TRUTH, log=False)
    truth = CocoIndex(content)
    predictions = read_results(folder / PREDICTIONS, (), masks=False)
    for found in predictions:
        if found['image_id'] not in truth.imgs or found['category_id'] not in truth.cats:
            raise RecordedTestError(
                f"'{folder / PREDICTIONS}' has the image {found['image_id']!r} and the category "
                f'{found["category_id"]!r}, which are not both in the truth beside it: the files are '
                'of two tests. Run the test again.'
            )
        _require_size(found, truth, folder / PREDICTIONS)
        if 'bbox' not in found:
            found['bbox'] = coco_mask.toBbox(_compressed(found['segmentation'])).tolist()
    return RecordedTest(folder, truth, predictions, _read_metrics(folder / METRICS))


def _require_size(found: dict[str, Any], truth: CocoIndex, file: Path) -> None:
    """Raise unless a mask is as large as its image: pycocotools matches others with nothing."""
    image = truth.imgs[found['image_id']]
    size = found.get('segmentation', {}).get('size')
    if size is not None and list(size) != [image['height'], image['width']]:
        raise RecordedTestError(
            f"'{file}' has a mask of {size[0]}x{size[1]} pixels (rows, columns) in the image "
            f'{found["image_id"]!r} of {image["height"]}x{image["width"]}. Write masks in the pixels '
            'of the whole image.'
        )


def _compressed(mask: dict[str, Any]) -> dict[str, Any]:
    if isinstance(mask['counts'], str):
        return mask
    return dict(coco_mask.frPyObjects(mask, *mask['size']))


def _read_metrics(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise RecordedTestError(
            f"'{file}' is not valid JSON ({error}). Remove it, or run the test again."
        ) from error
    return content if isinstance(content, dict) else {}
