"""Truth and predictions side by side: one row an image, one column a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

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
        KeyError: If a prediction file lacks one of the images.
        FileNotFoundError: If an image is not there or does not decode.
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
            raise FileNotFoundError(
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
                raise KeyError(
                    f'The predictions "{name}" hold nothing on image {image_id} ({path.name}). They '
                    'were made on another data set or split.'
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
