"""Files of predictions: COCO results, and MMDetection's pickles read as data."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import METRICS
from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import BaseMetric

from rs4d.checkpoints.plain_data import read_pickle
from rs4d.datasets.masks import decode_texts, run_lengths
from rs4d.errors import UserError
from rs4d.files import write_json

# What content of the wrong kind raises: no list, a number too large, lists too deep.
_MALFORMED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)


# So many masks are decoded at once.
_TOGETHER = 4096


class ResultsFileError(UserError, ValueError):
    """Predictions cannot be written or read, or are more than data."""


@METRICS.register_module()
class ResultsFile(BaseMetric):
    """Writes the predictions as COCO results and scores nothing.

    The file is a JSON list with ``image_id``, ``category_id``, ``score``, ``bbox`` as left, top, width
    and height, and for models with masks ``segmentation`` as COCO's run lengths, for each instance.

    Args:
        path: The file.
        category_ids: The annotation file's category of each label.
        **kwargs: MMEngine's ``BaseMetric``.
    """

    default_prefix = 'results'

    def __init__(self, path: str | Path, category_ids: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.category_ids = list(category_ids)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the predictions of a batch, dicts with ``img_id`` and ``pred_instances``."""
        self.results += [_coco_results(sample, self.category_ids) for sample in data_samples]

    def compute_metrics(self, results: list[list[dict[str, Any]]]) -> dict[str, float]:
        """Write the file; there are no scores."""
        write_json(self.path, [instance for image in results for instance in image])
        return {}


def write_results_of(loop: Any, path: str | Path) -> None:
    """Let a built test loop write its predictions, to a ``.json``, when it ends.

    Raises:
        ResultsFileError: The file's name is not JSON's, or the data set has no categories.
    """
    path, dataset = Path(path), loop.dataloader.dataset
    if path.suffix != '.json':
        raise ResultsFileError(
            f"--out '{path}': predictions are written as COCO results; end the file's name in .json."
        )
    while not hasattr(dataset, 'cat_ids') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    if not hasattr(dataset, 'cat_ids'):
        raise ResultsFileError(
            f"--out '{path}': a {type(dataset).__name__} has no categories that predictions could be "
            'of. Leave --out away, or test on one COCO data set.'
        )
    loop.evaluator.metrics.append(ResultsFile(path, dataset.cat_ids))


def read_results(
    path: str | Path, category_ids: Sequence[int], masks: bool = True
) -> list[dict[str, Any]]:
    """Read predictions as data; nothing that a file may hold is run.

    Args:
        path: COCO results as `ResultsFile` writes them, or a pickle (``.pkl``, ``.pickle``) of
            MMDetection's ``DumpDetResults``.
        category_ids: The category of each label in a pickle, which has no other.
        masks: Whether all have to have masks; else all or none, and boxes.

    Raises:
        UserError: The file is missing, holds something else or more than data, or has no masks.
    """
    path = Path(path)
    try:
        if path.suffix in ('.pkl', '.pickle'):
            samples = read_pickle(path)
            found = [x for sample in samples for x in _coco_results(sample, category_ids)]
        else:
            found = json.loads(path.read_bytes())
        if not isinstance(found, list):
            raise TypeError(f'it is a {type(found).__name__}')
        masks = masks or any('segmentation' in instance for instance in found)
        for number, instance in enumerate(found):
            _check(instance, f'instance {number}', masks)
        if masks:
            _check_masks(found)
    except UserError:
        raise
    except _MALFORMED as error:
        reason = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
        raise ResultsFileError(
            f"The predictions '{path}' cannot be read ({reason}). Name COCO results with masks, as "
            'tools/test.py --out FILE.json writes them.'
        ) from error
    return found


def _coco_results(sample: Mapping[str, Any], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The instances of an image of MMDetection's, as COCO results."""
    instances = sample['pred_instances']
    boxes = np.asarray(instances['bboxes'].cpu(), float).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    labels = instances['labels'].tolist()
    if labels and not 0 <= min(labels) <= max(labels) < len(category_ids):
        raise ValueError(
            f'labels from {min(labels)} to {max(labels)}, of {len(category_ids)} classes'
        )
    columns = (labels, instances['scores'].tolist(), boxes.round(3).tolist())
    results = [
        dict(image_id=sample['img_id'], category_id=category_ids[label], score=score, bbox=box)
        for label, score, box in zip(*columns, strict=True)
    ]
    if 'masks' in instances:
        masks = instances['masks']
        if isinstance(masks, torch.Tensor):
            masks = encode_mask_results(masks.cpu().numpy())
        for result, mask in zip(results, masks, strict=True):
            size, counts = [int(side) for side in mask['size']], mask['counts']
            counts = counts.decode('ascii') if isinstance(counts, bytes) else counts
            result['segmentation'] = dict(size=size, counts=counts)
    return results


def _check(instance: Any, where: str, masks: bool) -> None:
    """Refuse what would fail later, in the middle of a picture."""
    for key, kinds in (
        ('image_id', (int, str)),
        ('category_id', (int, str)),
        ('score', (int, float)),
    ):
        if not isinstance(instance[key], kinds):
            raise TypeError(f'{where} has the {key} {instance[key]!r}')
    if not math.isfinite(instance['score']):
        raise ValueError(f'{where} has the score {instance["score"]}')
    if masks:
        mask = instance['segmentation']
        _, _ = mask['size']
        if not isinstance(mask['counts'], str | list):
            raise TypeError(f'{where} has counts of a {type(mask["counts"]).__name__}')
    else:
        box = np.asarray(instance['bbox'], float)
        if box.shape != (4,) or not np.isfinite(box).all():
            raise ValueError(f'{where} has the bbox {instance["bbox"]}')


def _check_masks(found: Sequence[dict[str, Any]]) -> None:
    """Refuse segmentations that are no masks; texts are decoded many at a time."""
    masks = [instance['segmentation'] for instance in found]
    sizes = [math.prod(map(int, mask['size'])) for mask in masks]
    texts = [number for number, mask in enumerate(masks) if isinstance(mask['counts'], str)]
    totals = [-1] * len(masks)
    for start in range(0, len(texts), _TOGETHER):
        part = texts[start : start + _TOGETHER]
        lengths, first, good = decode_texts([masks[number]['counts'] for number in part])
        sums = np.where(good, np.add.reduceat(lengths, first), -1).tolist()
        for number, total in zip(part, sums, strict=True):
            totals[number] = total
    for number in set(range(len(masks))) - set(texts):
        counts = run_lengths(masks[number]['counts'])
        totals[number] = -1 if counts is None else int(counts.sum())
    for number, (total, size) in enumerate(zip(totals, sizes, strict=True)):
        if total != size:
            height, width = masks[number]['size']
            raise ValueError(
                f'instance {number} has a segmentation that is no mask of {height}x{width} pixels'
            )
