"""Truth and predictions side by side: one row an image, one column a model."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from rs4d.errors import UserError

# Distinct from water, roofs and vegetation; BGR.
COLOURS = (
    (66, 135, 245),
    (80, 200, 60),
    (230, 120, 50),
    (60, 60, 230),
    (200, 60, 200),
    (60, 220, 230),
    (220, 210, 60),
    (140, 90, 240),
    (100, 170, 100),
    (170, 110, 190),
)
HEADER = 24
GAP = 4


class PredictionGridError(UserError, ValueError):
    """Predictions, annotations and images that do not belong together, or cannot be read."""


def read_predictions(file: Path) -> list[dict[str, Any]]:
    """Read what ``tools/test.py --out`` wrote.

    Args:
        file: A pickle; it is run as code when it is read, so it should be one's own.

    Returns:
        One dict an image, with ``img_id`` and ``pred_instances``.

    Raises:
        PredictionGridError: If it is missing, is no pickle or holds something else.
    """
    try:
        samples = pickle.loads(file.read_bytes())
    except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
        raise PredictionGridError(
            f"The predictions '{file}' cannot be read: {error}. Name a file that tools/test.py "
            '--out wrote.'
        ) from error
    for sample in samples if isinstance(samples, list) else [None]:
        if not isinstance(sample, dict) or not {'img_id', 'pred_instances'} <= set(sample):
            raise PredictionGridError(
                f"'{file}' does not hold predictions as tools/test.py --out writes them: a list with "
                'img_id and pred_instances for each image. Name such a file.'
            )
        if 'masks' not in sample['pred_instances']:
            raise PredictionGridError(
                f"The predictions '{file}' have boxes but no masks. Name those of a model with a "
                'mask head.'
            )
    return samples


def choose_images(coco: COCO, wanted: Sequence[str] | None = None, count: int = 6) -> list[int]:
    """Choose images by id or name, or spread evenly over those that have instances.

    Args:
        coco: The annotations.
        wanted: Image ids or file names, with or without folder and suffix; None to spread.
        count: How many, at most, where they are spread.

    Returns:
        Their ids, in the order asked for.

    Raises:
        PredictionGridError: If one is not in the annotations, a name fits several, or no image
            has an instance.
    """
    if wanted is not None:
        return [_find_image(coco, text) for text in wanted]
    with_instances = sorted({ann['image_id'] for ann in coco.anns.values()})
    if not with_instances or count < 1:
        raise PredictionGridError(
            f'There is nothing to draw: {len(with_instances)} images of the annotations have '
            f'instances, and {count} are asked for. Choose another annotation file or more rows.'
        )
    places = np.linspace(0, len(with_instances) - 1, min(count, len(with_instances)))
    return [with_instances[i] for i in places.round().astype(int)]


def _find_image(coco: COCO, text: str) -> int:
    found = [
        image_id
        for image_id, image in coco.imgs.items()
        if text
        in (image['file_name'], Path(image['file_name']).name, Path(image['file_name']).stem)
    ]
    if not found and text.isdecimal() and int(text) in coco.imgs:
        found = [int(text)]
    if len(found) != 1:
        some = ', '.join(f'{i} ({coco.imgs[i]["file_name"]})' for i in sorted(coco.imgs)[:3])
        raise PredictionGridError(
            f"The image '{text}' is {'several' if found else 'none'} of the {len(coco.imgs)} in the "
            f'annotations: {found or some + ", ..."}. Give an id or a file name that is there once.'
        )
    return found[0]


def draw_instances(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    labels: Sequence[int],
    scores: Sequence[float] | None = None,
) -> np.ndarray:
    """Draw instance masks over an image: a tint inside, a line around.

    Args:
        image: BGR, (H, W, 3), uint8. It is not changed.
        masks: One boolean or 0/1 mask an instance, (H, W).
        labels: Class index of each instance; it picks the colour.
        scores: Confidence of each instance, written beside it.

    Returns:
        The picture, (H, W, 3), uint8.
    """
    picture = image.copy()
    for i, (mask, label) in enumerate(zip(masks, labels, strict=True)):
        colour = COLOURS[label % len(COLOURS)]
        inside = mask.astype(bool)
        picture[inside] = (0.55 * picture[inside] + 0.45 * np.array(colour)).astype(np.uint8)
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, contours, -1, colour, 1)
        if scores is not None and contours:
            x, y, *_ = cv2.boundingRect(np.concatenate(contours))
            place = (x, max(y - 2, 8))
            cv2.putText(picture, f'{scores[i]:.2f}', place, 0, 0.3, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def draw_prediction_grid(
    coco: COCO,
    image_folder: Path,
    predictions: Mapping[str, Sequence[dict[str, Any]]],
    image_ids: Sequence[int],
    score_thr: float = 0.5,
    cell_height: int = 256,
) -> np.ndarray:
    """Draw truth and the predictions of one or more models in a grid.

    Args:
        coco: The annotations.
        image_folder: Where the images are.
        predictions: For each column's title, the list that ``tools/test.py --out`` writes.
        image_ids: The rows.
        score_thr: Predictions below are not drawn.
        cell_height: Height of a row in pixels; a row's images keep their aspect.

    Returns:
        The picture, BGR, uint8.

    Raises:
        PredictionGridError: If a prediction file lacks one of the images or has masks of another
            size, or an image is not there or does not decode.
    """
    by_image = {
        name: {sample['img_id']: sample['pred_instances'] for sample in samples}
        for name, samples in predictions.items()
    }
    category_index = {category: i for i, category in enumerate(sorted(coco.getCatIds()))}
    rows = []
    for image_id in image_ids:
        path = image_folder / coco.loadImgs([image_id])[0]['file_name']
        image = cv2.imread(str(path))
        if image is None:
            raise PredictionGridError(
                f'{path} is not there or is not an image. Name the folder that the annotation '
                "file's file_name entries are relative to."
            )
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        cells = [
            image,
            draw_instances(
                image,
                [coco.annToMask(ann) for ann in annotations],
                [category_index[ann['category_id']] for ann in annotations],
            ),
        ]
        for name, found in by_image.items():
            if image_id not in found:
                raise PredictionGridError(
                    f'The predictions "{name}" hold nothing on image {image_id} ({path.name}). They '
                    'were made on another data set or split. Give annotations and images of theirs.'
                )
            for mask in found[image_id]['masks']:
                if tuple(mask['size']) != image.shape[:2]:
                    raise PredictionGridError(
                        f'The predictions "{name}" on image {image_id} have masks of '
                        f'{mask["size"]} pixels, but {path} has {list(image.shape[:2])}. They were '
                        'made on another data set.'
                    )
            cells.append(_draw_prediction(image, found[image_id], score_thr))
        rows.append([_resize(cell, cell_height) for cell in cells])
    return _assemble(rows, ['image', 'truth', *predictions])


def _draw_prediction(image: np.ndarray, found: Mapping[str, Any], score_thr: float) -> np.ndarray:
    scores = np.asarray(found['scores'])
    # Best last, so that it lies on top.
    order = [i for i in np.argsort(scores) if scores[i] >= score_thr]
    masks = [mask_util.decode(found['masks'][i]) for i in order]
    labels = [int(found['labels'][i]) for i in order]
    return draw_instances(image, masks, labels, [float(scores[i]) for i in order])


def _resize(image: np.ndarray, height: int) -> np.ndarray:
    width = round(image.shape[1] * height / image.shape[0])
    shrinks = image.shape[0] > height
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def _assemble(rows: list[list[np.ndarray]], titles: list[str]) -> np.ndarray:
    cell_width = max(row[0].shape[1] for row in rows)
    cell_height = rows[0][0].shape[0]
    height = HEADER + len(rows) * (cell_height + GAP)
    canvas = np.full((height, len(titles) * (cell_width + GAP), 3), 255, np.uint8)
    for column, title in enumerate(titles):
        left = column * (cell_width + GAP)
        cv2.putText(canvas, title, (left + 4, HEADER - 7), 0, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        for number, row in enumerate(rows):
            top = HEADER + number * (cell_height + GAP)
            canvas[top : top + cell_height, left : left + row[column].shape[1]] = row[column]
    return canvas
