"""Truth and predictions side by side: one row an image, one column a model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from pycocotools.coco import COCO

from rs4d.datasets import ImageDecodeError, LoadRaster
from rs4d.datasets.image_reading import decode, read_file
from rs4d.errors import UserError

HEADER = 24
GAP = 4


class PredictionGridError(UserError, ValueError):
    """Predictions, annotations and images that do not belong together, or cannot be read."""


def choose_images(coco: COCO, wanted: Sequence[str] | None = None, count: int = 6) -> list[int]:
    """Choose images, and return their ids in the order asked for.

    Args:
        coco: The annotations.
        wanted: Image ids or file names, with or without folder and suffix; None spreads them over
            those that have instances.
        count: How many, at most, where they are spread.

    Raises:
        PredictionGridError: One is not in the annotations, a name fits several, or no image has an
            instance.
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
    files = {image_id: Path(image['file_name']) for image_id, image in coco.imgs.items()}
    found = [i for i, file in files.items() if text in (str(file), file.name, file.stem)]
    if not found and text.isdecimal() and int(text) in files:
        found = [int(text)]
    if len(found) != 1:
        some = ', '.join(f'{i} ({files[i]})' for i in sorted(files)[:3])
        raise PredictionGridError(
            f"The image '{text}' is {'several' if found else 'none'} of the {len(files)} in the "
            f'annotations: {found or some + ", ..."}. Give an id or a file name that is there once.'
        )
    return found[0]


def draw_prediction_grid(
    coco: COCO,
    image_folder: Path,
    predictions: Mapping[str, Sequence[dict[str, Any]]],
    image_ids: Sequence[int],
    score_thr: float = 0.5,
    cell_height: int = 256,
) -> np.ndarray:
    """Draw truth and the predictions of one or more models in a grid, BGR, uint8.

    Args:
        coco: The annotations.
        image_folder: Where the images are.
        predictions: For each column's title, what `rs4d.evaluation.read_results` returns.
        image_ids: The rows.
        score_thr: Predictions below are not drawn.
        cell_height: Height of a row in pixels; a row's images keep their aspect.

    Raises:
        UserError: Predictions are of images that the annotations have not, or have masks of another
            size; an image is not there or does not decode.
    """
    columns = {name: _by_image(coco, name, found) for name, found in predictions.items()}
    rows = []
    for image_id in image_ids:
        entry = coco.imgs[image_id]
        path = image_folder / entry['file_name']
        image = load_picture(path, (entry['width'], entry['height']))
        cells = [image, _draw(coco, image, coco.loadAnns(coco.getAnnIds(image_id)))]
        for found in columns.values():
            shown = [instance for instance in found[image_id] if instance['score'] >= score_thr]
            # Best last, so that it lies on top.
            cells.append(_draw(coco, image, sorted(shown, key=lambda found: found['score'])))
        width = round(image.shape[1] * cell_height / image.shape[0])
        how = cv2.INTER_AREA if image.shape[0] > cell_height else cv2.INTER_LINEAR
        rows.append([cv2.resize(x, (width, cell_height), interpolation=how) for x in cells])
    return assemble(rows, ['image', 'truth', *predictions])


def load_picture(path: Path, noted: tuple[int, int]) -> np.ndarray:
    """Load an image to be looked at; what is none of 8 bits and three bands is stretched to it.

    Args:
        path: The file.
        noted: Width and height that the annotations say.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        UserError: It does not decode, or has another size.
    """
    try:
        return decode(read_file(path), str(path), noted=noted)
    except ImageDecodeError as error:
        try:
            return LoadRaster(stretch=dict(type='percentile')).picture(str(path))[..., ::-1].copy()
        except UserError:
            raise error from None


def _by_image(
    coco: COCO, name: str, found: Sequence[dict[str, Any]]
) -> dict[int, list[dict[str, Any]]]:
    """Group predictions, of which there may be none on an image."""
    grouped = defaultdict(list)
    for instance in found:
        image, category = instance['image_id'], instance['category_id']
        size = instance['segmentation']['size']
        entry = coco.imgs.get(image, {})
        if category not in coco.cats or [entry.get('height'), entry.get('width')] != list(size):
            raise PredictionGridError(
                f'The predictions "{name}" are of image {image} with {size} pixels and category '
                f'{category}, and the annotations have no such image or category: they were made on '
                'another data set or split. Give annotations and images of theirs.'
            )
        grouped[image].append(instance)
    return grouped


def _draw(coco: COCO, image: np.ndarray, instances: Sequence[dict[str, Any]]) -> np.ndarray:
    """Draw instances over a BGR image: a tint inside, a line around, a score if there is one."""
    picture = image.copy()
    categories = sorted(coco.getCatIds())
    for instance in instances:
        number = categories.index(instance['category_id'])
        # Orange first: blue would not stand out from water.
        colour = 255 * np.array(matplotlib.colormaps['tab10']((number + 1) % 10))[2::-1]
        mask = coco.annToMask(instance)
        picture[mask > 0] = (0.55 * picture[mask > 0] + 0.45 * colour).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour.tolist(), 1)
        if 'score' in instance and contours:
            x, y, *_ = cv2.boundingRect(mask)
            text = f'{instance["score"]:.2f}'
            white = (255, 255, 255)
            cv2.putText(picture, text, (x, max(y - 2, 8)), 0, 0.3, white, 1, cv2.LINE_AA)
    return picture


def assemble(rows: list[list[np.ndarray]], titles: list[str]) -> np.ndarray:
    """Put pictures of equal heights into a table under titles, on white."""
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
