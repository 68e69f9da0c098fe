"""HRSID and iSAID in the layouts and formats in which they are published, through their configs."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from rs4d.config import load_config
from rs4d.evaluation import InstanceMetric

CONFIGS = Path(__file__).parents[2] / 'configs/rs4d'
# The order in which iSAID's devkit meets classes is that of its data, and no other list's.
MET = (
    *('storage_tank', 'Large_Vehicle', 'Small_Vehicle', 'plane', 'ship', 'Swimming_pool', 'Harbor'),
    *('tennis_court', 'Ground_Track_Field', 'Soccer_ball_field', 'baseball_diamond', 'Bridge'),
    *('basketball_court', 'Roundabout', 'Helicopter'),
)
# What else its entries of images name.
MORE = dict(ins='id', seg='color')


def devkit_annotation(mask: np.ndarray) -> dict[str, Any]:
    """An instance as iSAID's devkit writes it.

    Outlines run through the centres of the outermost pixels, boxes reach to the pixels' ends, and the
    area is that of the pixels.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    box = [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1]
    return dict(
        segmentation=[contour.reshape(-1).tolist() for contour in contours],
        bbox=[float(value) for value in box],
        area=int(mask.sum()),
        iscrowd=0,
    )


def masks_of_all_kinds(side: int) -> list[tuple[str, np.ndarray]]:
    """Objects of all classes, and what is left of some at a patch's edge."""
    masks = []
    for number, name in enumerate(MET):
        mask = np.zeros((side, side), np.uint8)
        mask[10 + 40 * (number // 5) :, 10 + 40 * (number % 5) :][:20, :12] = 1
        masks.append((name, mask))
    for rows, columns in (
        (slice(100, 112), slice(side - 1, side)),  # one pixel wide
        (slice(300, 302), slice(300, 302)),  # the smallest that has an inside
    ):
        mask = np.zeros((side, side), np.uint8)
        mask[rows, columns] = 1
        masks.append(('Small_Vehicle', mask))
    parts = np.zeros((side, side), np.uint8)
    parts[400:420, 400:420] = parts[400:420, 430:440] = 1  # behind a tree
    return [*masks, ('ship', parts)]


def write_isaid(root: Path) -> None:
    """Patches and files as the devkit's split.py and preprocess.py leave them; ids are from 0."""
    ids: dict[str, int] = {}
    for split, scene in (('train', 'P0000'), ('val', 'P0003')):
        folder = root / 'iSAID' / split / 'images'
        folder.mkdir(parents=True)
        # The second patch shows nothing, the last scene was too small to be cut.
        patches = [(f'{scene}_0_800_0_800', 800), (f'{scene}_0_800_600_1400', 800), ('P0009', 500)]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for key, (name, side) in enumerate(patches):
            for extra in ('', '_instance_id_RGB', '_instance_color_RGB'):
                cv2.imwrite(str(folder / f'{name}{extra}.png'), np.zeros((side, side, 3), np.uint8))
            more = {f'{k}_file_name': f'{name}_instance_{v}_RGB.png' for k, v in MORE.items()}
            images.append(dict(id=key, width=side, height=side, file_name=f'{name}.png', **more))
            for category, mask in masks_of_all_kinds(side) if key != 1 else ():
                ids.setdefault(category, len(ids) + 1)
                entry = dict(id=len(annotations), image_id=key, category_id=ids[category])
                entry |= dict(category_name=category)
                annotations.append(entry | devkit_annotation(mask))
        categories = [dict(id=key, name=name) for name, key in ids.items()]
        content = dict(images=images, categories=categories, annotations=annotations)
        file = root / f'iSAID/{split}/instancesonly_filtered_{split}.json'
        file.write_text(json.dumps(content))


def write_hrsid(root: Path) -> None:
    """JPEGs of 800x800 and polygons, with a category of the id 1."""
    (root / 'HRSID/JPEGImages').mkdir(parents=True)
    (root / 'HRSID/annotations').mkdir()
    for split, start in (('train', 0), ('test', 2)):
        images, annotations = [], []
        for key in (start, start + 1):
            name = f'P0001_0_800_{7200 + 600 * key}_{8000 + 600 * key}.jpg'
            cv2.imwrite(str(root / 'HRSID/JPEGImages' / name), np.zeros((800, 800, 3), np.uint8))
            images.append(dict(file_name=name, id=key, width=800, height=800))
            polygon = [463.0, 98.0, 465.0, 64.0, 477.0, 66.0, 475.0, 98.0]
            annotations.append(
                dict(
                    area=400.0,
                    iscrowd=0,
                    image_id=key,
                    bbox=[463.0, 64.0, 14.0, 34.0],
                    category_id=1,
                    id=len(annotations) + 1,
                    ignore=0,
                    segmentation=[polygon],
                )
            )
        categories = [dict(supercategory='none', id=1, name='ship')]
        content = dict(images=images, type='instances', annotations=annotations)
        file = root / f'HRSID/annotations/{split}2017.json'
        file.write_text(json.dumps(content | dict(categories=categories)))


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes a set and reads its config."""
    monkeypatch.setenv('RS4D_DATA_ROOT', str(tmp_path))

    def read_config(name: str) -> Config:
        dict(hrsid=write_hrsid, isaid=write_isaid)[name](tmp_path)
        options = dict(image_size=128, num_workers=0, scale_range=(1.0, 1.0), train_batch_size=1)
        return load_config(CONFIGS / f'rs4d-base_light_{name}.py', options)

    return read_config


def perfect_scores(cfg: Config) -> dict[str, float]:
    """Score the truth of the validation, as a model would predict it."""
    file = cfg.val_evaluator.ann_file
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    evaluator = Evaluator(InstanceMetric(file, metric=['bbox', 'segm']))
    evaluator.dataset_meta = dataset.metainfo
    truth = COCO(file)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        found = [e for e in info['instances'] if not e['ignore_flag']]
        entries = [dict(segmentation=e['mask'], image_id=info['img_id']) for e in found]
        masks = [coco_mask.encode(np.asfortranarray(truth.annToMask(e))) for e in entries]
        predictions = dict(
            bboxes=torch.tensor([e['bbox'] for e in found]).reshape(-1, 4),
            labels=torch.tensor([e['bbox_label'] for e in found], dtype=torch.long),
            scores=torch.ones(len(found)),
            masks=masks,
        )
        size = info['height'], info['width']
        sample = dict(img_id=info['img_id'], img_path=info['img_path'], ori_shape=size)
        evaluator.process([sample | dict(pred_instances=predictions)], None)
    return evaluator.evaluate(len(dataset))


@pytest.mark.parametrize(('name', 'trained', 'scored'), [('hrsid', 2, 2), ('isaid', 2, 3)])
def test_as_published(read: Any, name: str, trained: int, scored: int) -> None:
    cfg = read(name)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == trained  # patches that show nothing are not trained on
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == scored
    assert cfg.model.bbox_head.num_classes == len(dataset.metainfo['classes'])
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    assert len(batch['data_samples'][0].gt_instances)
    scores = perfect_scores(cfg)
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1.0


def test_what_is_one_pixel_wide_is_left_out_of_isaid(read: Any) -> None:
    dataset = DATASETS.build(read('isaid').train_dataloader.dataset)
    names = dataset.metainfo['classes']
    instances = dataset.get_data_info(0)['instances']
    boxes = {tuple(e['bbox']): e for e in instances}
    left_out = {place for place, e in boxes.items() if e['ignore_flag']}
    assert left_out == {(799, 100, 800, 112)}
    assert names[boxes[300, 300, 302, 302]['bbox_label']] == 'Small_Vehicle'
    assert len(boxes[400, 400, 440, 420]['mask']) == 2
    assert {names[e['bbox_label']] for e in instances} == set(MET)
