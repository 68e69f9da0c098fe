"""Whether what an exported file computes is what the model computes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from torch import Tensor

from .detectors import without_padding
from .parts import Part
from .program import Runner

_MATCH_PIXELS = 0.5
_MATCH_SCORE = 0.01
# At least one pixel of a mask of twenty.
_MATCH_MASK = 0.05


@dataclass(frozen=True)
class MapAgreement:
    """How far maps are from the model's.

    Attributes:
        error: The largest difference of any number, by the largest number of its map.
    """

    error: float

    def __str__(self) -> str:
        return f'largest relative error {self.error:.1e}'


@dataclass(frozen=True)
class DetectionAgreement:
    """How far detections are from the model's.

    Attributes:
        of_model: How many the model finds.
        of_export: How many the exported file finds.
        same: How many of them are the same: label, box to half a pixel, score to 0.01.
        differing: How many of either are not among those, without those that rounding may bring in or
            leave out: their scores are at the least, or at the last that the config's number admits.
        box: The largest difference of a side of the same ones, in pixels.
        score: The largest difference of a score of those.
        mask: The largest difference of a mask of those: the pixels that differ, by the pixels that
            either mask has.
    """

    of_model: int
    of_export: int
    same: int
    differing: int
    box: float
    score: float
    mask: float

    @property
    def agrees(self) -> bool:
        """Whether all are the same, but for one of fifty where boxes of equal scores compete."""
        return self.differing <= 0.02 * self.of_model and self.mask <= _MATCH_MASK

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found that could be compared."""
        return self.same == self.differing == 0

    def __str__(self) -> str:
        if self.is_empty:
            return 'nothing was compared, because the model finds nothing'
        left_out = max(self.of_model, self.of_export) - self.same
        ties = (
            ', others only where scores are equal to the last' if self.differing < left_out else ''
        )
        return (
            f'{self.same} of {self.of_model} detections are the same ({self.of_export} exported){ties}; '
            f'boxes within {self.box:.2g} pixels, scores within {self.score:.2g}, masks within '
            f'{100 * self.mask:.2g} % of their pixels'
        )


def compare_maps(part: Part, run: Runner, inputs: tuple[Tensor, ...]) -> MapAgreement:
    """Compare the maps of an encoder, or of an encoder and its neck, with the module itself."""
    with torch.inference_mode():
        expected = part(*inputs)
    found = run(*inputs)
    if [x.shape for x in found] != [y.shape for y in expected]:
        return MapAgreement(math.inf)
    pairs = zip(found, expected, strict=True)
    errors = [(x - y).abs().max() / y.abs().max().clamp(min=1e-12) for x, y in pairs]
    # Unlike Python's, this maximum is NaN if one of them is.
    return MapAgreement(float(torch.stack(errors).max()))


def compare_detections(
    model: Any, part: Part, run: Runner, inputs: tuple[Tensor, ...]
) -> DetectionAgreement:
    """Compare detections with those that MMDetection's own code finds, from the least score on.

    Args:
        model: The detector.
        part: Made of it.
        run: The exported file.
        inputs: Of the part.
    """
    image, size = inputs
    expected = find(model, without_padding(part.normalise(image), size), size)
    got = dict(zip(part.output_names(4), run(*inputs), strict=True))
    settings = getattr(model.test_cfg, 'rcnn', None) or model.test_cfg
    present = ~(got['scores'] <= 0)  # NaN is not nothing
    got = {name: x[present] for name, x in got.items()}
    got['masks'] = _paste(got['masks'], got['boxes'], model.roi_head.test_cfg, size)
    return match(expected, got, settings.score_thr, settings.max_per_img)


def find(model: Any, image: Tensor, size: Tensor) -> dict[str, Tensor]:
    """Have MMDetection find the objects of a normalised image (1, bands, H, W), without rescaling."""
    height, width = (int(side) for side in size)
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            scale_factor=(1.0, 1.0),
            batch_input_shape=tuple(image.shape[-2:]),
            pad_shape=tuple(image.shape[-2:]),
        )
    )
    with torch.inference_mode(), DefaultScope.overwrite_default_scope('mmdet'):
        found = model.predict(image, [sample], rescale=False)[0].pred_instances
    return dict(boxes=found.bboxes, scores=found.scores, labels=found.labels, masks=found.masks)


def _paste(masks: Tensor, boxes: Tensor, settings: Any, size: Tensor) -> Tensor:
    """Lay the masks of boxes (N, side, side) into an image, as MMDetection does, (N, height, width)."""
    height, width = (int(side) for side in size)
    if not len(masks):
        return masks.new_zeros((0, height, width), dtype=torch.bool)
    pasted, _ = _do_paste_mask(masks[:, None], boxes, height, width, skip_empty=False)
    return pasted >= settings.mask_thr_binary


def match(
    expected: Mapping[str, Tensor], got: Mapping[str, Tensor], least: float, most: int
) -> DetectionAgreement:
    """Find for each expected detection one that is the same, each of them once.

    Args:
        expected: ``boxes``, ``scores``, ``labels``, and ``masks`` as pixels (N, height, width).
        got: Likewise.
        least: The score that detections have at least.
        most: How many there may be.
    """
    free = torch.ones(len(got['scores']), dtype=torch.bool)
    missed = torch.ones(len(expected['scores']), dtype=torch.bool)
    box, score, mask = 0.0, 0.0, 0.0
    for index in range(len(missed)):
        boxes = (got['boxes'] - expected['boxes'][index]).abs().amax(1)
        scores = (got['scores'] - expected['scores'][index]).abs()
        labels = got['labels'] == expected['labels'][index]
        fits = free & labels & (boxes <= _MATCH_PIXELS) & (scores <= _MATCH_SCORE)
        if fits.any():
            best = int(torch.where(fits, boxes, torch.inf).argmin())
            free[best] = missed[index] = False
            box, score = max(box, float(boxes[best])), max(score, float(scores[best]))
            mask = max(mask, _difference(expected['masks'][index], got['masks'][best]))
    differing = sum(
        _beyond_rounding(x['scores'], left, least, most)
        for x, left in ((expected, missed), (got, free))
    )
    same = int((~missed).sum())
    return DetectionAgreement(len(missed), len(free), same, differing, box, score, mask)


def _difference(one: Tensor, other: Tensor) -> float:
    """How many pixels differ, but for one that rounding may turn, by those of either mask."""
    differing = ((one != other).sum() - 1).clamp(min=0)
    return float(differing / (one | other).sum().clamp(min=1))


def _beyond_rounding(scores: Tensor, left: Tensor, least: float, most: int) -> int:
    """How many of those that are ``left`` are not there or not by rounding alone."""
    last = scores.min() if len(scores) >= most else torch.tensor(least)
    return int((left & ~(scores <= last + 1e-3)).sum())
