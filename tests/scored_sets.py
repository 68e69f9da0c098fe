"""Made-up sets with every kind of right and wrong detection."""

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

CLASSES = {3: 'ship', 5: 'pier', 11: 'tank'}
SIDE = 160


class Scored(NamedTuple):
    """A COCO file's content, and predictions of it as COCO results."""

    content: dict[str, Any]
    predictions: list[dict[str, Any]]


def rectangle(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    """The mask of a box."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[round(y) : round(y + height), round(x) : round(x + width)] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=[SIDE, SIDE], counts=rle['counts'].decode())


def instance(image: int, category: int, box: list[float], **more: Any) -> dict[str, Any]:
    return dict(
        image_id=image, category_id=category, bbox=box, segmentation=rectangle(*box), **more
    )


def scored(seed: int = 0, images: int = 24, crowds: bool = True) -> Scored:
    """Make a set; some images are empty, some instances are crowds."""
    generator = np.random.default_rng(seed)
    annotations, predictions = [], []
    scores = generator.permutation(100_000) / 100_000  # no two are equal
    for image in range(1, images + 1):
        for _ in range(generator.integers(0, 6)):
            category = int(generator.choice(list(CLASSES)))
            size = generator.choice([12, 40, 100]) * generator.uniform(0.8, 1.2, 2)
            corner = generator.uniform(0, SIDE - 1 - size)
            box = np.round([*corner, *size]).tolist()
            crowd = int(crowds and generator.random() < 0.1)
            annotations.append(
                instance(
                    image,
                    category,
                    box,
                    id=len(annotations) + 1,
                    area=box[2] * box[3],
                    iscrowd=crowd,
                )
            )
            # None, one or two detections, near or less so, some of another class.
            for _ in range(generator.integers(0, 3)):
                moved = np.round(box + generator.normal(0, 0.12, 4) * max(box[2:]))
                moved[2:] = moved[2:].clip(3)
                moved[:2] = moved[:2].clip(0, SIDE - 4)
                moved[2:] = np.minimum(moved[2:], SIDE - moved[:2])
                guess = (
                    category if generator.random() < 0.8 else int(generator.choice(list(CLASSES)))
                )
                score = float(scores[len(predictions)])
                predictions.append(instance(image, guess, moved.tolist(), score=score))
        for _ in range(generator.integers(0, 2)):
            box = [*np.round(generator.uniform(0, SIDE - 30, 2)).tolist(), 20.0, 15.0]
            category = int(generator.choice(list(CLASSES)))
            score = float(scores[len(predictions)])
            predictions.append(instance(image, category, box, score=score))
    content = dict(
        images=[
            dict(id=i, file_name=f'{i}.png', width=SIDE, height=SIDE) for i in range(1, images + 1)
        ],
        annotations=annotations,
        categories=[dict(id=key, name=name) for key, name in CLASSES.items()],
    )
    return Scored(content, predictions)
