"""The picture of truth beside predictions."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from rs4d.datasets import DatasetNotFoundError
from rs4d.visualization import PredictionGridError, choose_images, draw_prediction_grid


@pytest.fixture
def scene(tmp_path: Path) -> tuple[COCO, Path, np.ndarray]:
    """Return one black image with one square instance."""
    mask = np.zeros((32, 48), np.uint8)
    mask[8:20, 10:30] = 1
    rle = mask_util.encode(np.asfortranarray(mask))
    rle['counts'] = rle['counts'].decode()
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((32, 48, 3), np.uint8))
    annotations = dict(
        images=[dict(id=7, file_name='a.png', height=32, width=48)],
        categories=[dict(id=3, name='ship')],
        annotations=[
            dict(
                id=1,
                image_id=7,
                category_id=3,
                segmentation=rle,
                bbox=[10, 8, 20, 12],
                area=240,
                iscrowd=0,
            )
        ],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(annotations))
    return COCO(tmp_path / 'ann.json'), tmp_path, mask


def prediction(mask: np.ndarray, score: float) -> list[dict]:
    rle = mask_util.encode(np.asfortranarray(mask))
    rle['counts'] = rle['counts'].decode()
    return [dict(image_id=7, category_id=3, score=score, segmentation=rle)]


def test_grid_has_a_column_for_truth_and_each_model(scene: tuple[COCO, Path, np.ndarray]) -> None:
    coco, folder, mask = scene
    found = {'sure': prediction(mask, 0.9), 'unsure': prediction(mask, 0.3)}
    grid = draw_prediction_grid(coco, folder, found, [7], score_thr=0.5, cell_height=32)
    cells = np.split(grid[24:56], 4, axis=1)
    tinted = [bool((cell[:, :48][mask.astype(bool)] > 0).any()) for cell in cells]
    assert tinted == [False, True, True, False]
    # Inside only.
    np.testing.assert_array_equal((cells[1][:, :48] > 0).any(2), mask > 0)


def test_predictions_of_another_split_are_refused(scene: tuple[COCO, Path, np.ndarray]) -> None:
    coco, folder, mask = scene
    for change in (dict(image_id=8), dict(category_id=1)):
        other = [prediction(mask, 0.9)[0] | change]
        with pytest.raises(PredictionGridError, match='another data set or split'):
            draw_prediction_grid(coco, folder, {'model': other}, [7])


def test_an_image_without_predictions_is_drawn_as_it_is(
    scene: tuple[COCO, Path, np.ndarray],
) -> None:
    coco, folder, _ = scene
    grid = draw_prediction_grid(coco, folder, {'model': []}, [7], cell_height=32)
    assert not grid[24:56, 104:152].any()


def test_missing_image_is_named(scene: tuple[COCO, Path, np.ndarray]) -> None:
    coco, folder, _ = scene
    (folder / 'a.png').unlink()
    with pytest.raises(DatasetNotFoundError, match=r'a\.png'):
        draw_prediction_grid(coco, folder, {}, [7])


def test_masks_of_another_size_are_refused(scene: tuple[COCO, Path, np.ndarray]) -> None:
    coco, folder, mask = scene
    with pytest.raises(PredictionGridError, match='another data set'):
        draw_prediction_grid(coco, folder, {'model': prediction(mask[:16], 0.9)}, [7])


@pytest.mark.parametrize('text', ['7', 'a', 'a.png'])
def test_image_by_id_or_name(scene: tuple[COCO, Path, np.ndarray], text: str) -> None:
    assert choose_images(scene[0], [text]) == [7]


def test_image_that_is_not_there(scene: tuple[COCO, Path, np.ndarray]) -> None:
    with pytest.raises(PredictionGridError, match=r"'b\.png' is none of the 1 .*7 \(a\.png\)"):
        choose_images(scene[0], ['b.png'])
    with pytest.raises(PredictionGridError, match='0 are asked for'):
        choose_images(scene[0], count=0)
