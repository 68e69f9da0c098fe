"""Whether what an exported file computes is what the model computes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from torch import Tensor

from .detectors import without_padding
from .parts import Part
from .program import Runner

_MATCH_PIXELS = 0.5
_MATCH_SCORE = 0.01


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
        box: The largest difference of a side of those, in pixels.
        score: The largest difference of a score of those.
    """

    of_model: int
    of_export: int
    same: int
    box: float
    score: float

    @property
    def agrees(self) -> bool:
        """Whether all are the same, but for what may fall to either side of the least score."""
        return max(self.of_model, self.of_export) - self.same <= max(1, 0.02 * self.of_model)

    def __str__(self) -> str:
        return (
            f'{self.same} of {self.of_model} detections are the same ({self.of_export} exported), boxes '
            f'within {self.box:.2g} pixels, scores within {self.score:.2g}'
        )


def compare_maps(part: Part, run: Runner, inputs: tuple[Tensor, ...]) -> MapAgreement:
    """Compare the maps of an encoder, or of an encoder and its neck, with the module itself."""
    with torch.inference_mode():
        expected = part(*inputs)
    pairs = zip(run(*inputs), expected, strict=True)
    errors = [float((x - y).abs().max() / y.abs().max().clamp(min=1e-12)) for x, y in pairs]
    return MapAgreement(max(errors))


def compare_detections(
    model: Any, part: Part, run: Runner, inputs: tuple[Tensor, ...], least: float = 0.05
) -> DetectionAgreement:
    """Compare detections with those that MMDetection's own code finds.

    Args:
        model: The detector.
        part: Made of it.
        run: The exported file.
        inputs: Of the part.
        least: Detections that are less sure are left out.
    """
    image, size = inputs
    expected = find(model, without_padding((image - part.mean) / part.std, size), size)
    got = dict(zip(part.outputs, run(*inputs), strict=True))
    return match(expected, got, least)


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


def match(
    expected: Mapping[str, Tensor], got: Mapping[str, Tensor], least: float
) -> DetectionAgreement:
    """Find for each expected detection one that is the same, each of them once."""
    expected, got = ({k: v[x['scores'] > least] for k, v in x.items()} for x in (expected, got))
    free = torch.ones(len(got['scores']), dtype=torch.bool)
    same, box, score = 0, 0.0, 0.0
    for index in range(len(expected['scores'])):
        boxes = (got['boxes'] - expected['boxes'][index]).abs().amax(1)
        scores = (got['scores'] - expected['scores'][index]).abs()
        labels = got['labels'] == expected['labels'][index]
        fits = free & labels & (boxes <= _MATCH_PIXELS) & (scores <= _MATCH_SCORE)
        if fits.any():
            best = int(torch.where(fits, boxes, torch.inf).argmin())
            free[best] = False
            same += 1
            box, score = max(box, float(boxes[best])), max(score, float(scores[best]))
    return DetectionAgreement(len(expected['scores']), len(free), same, box, score)
