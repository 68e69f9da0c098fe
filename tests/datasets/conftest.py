"""A tiny COCO set on disk that tests may break in one place each."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _mmdet_scope() -> Iterator[None]:
    """Look types up as a config with ``default_scope = 'mmdet'`` does."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a one-class set of three images; its arguments change the content."""

    def write(**changes: Any) -> Path:
        (tmp_path / 'imgs').mkdir(exist_ok=True)
        (tmp_path / 'annotations').mkdir(exist_ok=True)
        for i in range(3):
            cv2.imwrite(str(tmp_path / f'imgs/{i}.png'), np.full((40, 60, 3), 50 * i, np.uint8))
        content = dict(
            images=[dict(id=i, file_name=f'{i}.png', width=60, height=40) for i in range(3)],
            categories=[dict(id=1, name='ship')],
            annotations=[
                dict(
                    id=i + 1,
                    image_id=i,
                    category_id=1,
                    bbox=[30, 20, 20, 10],
                    area=200,
                    iscrowd=0,
                    segmentation=[[30, 20, 50, 20, 50, 30, 30, 30]],
                )
                for i in range(3)
            ],
        )
        content.update(changes)
        (tmp_path / 'annotations/train.json').write_text(json.dumps(content))
        return tmp_path

    return write
