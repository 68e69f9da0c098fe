"""Which detections are right: matched with the truth as COCO does, by class and by image."""

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from rs4d.datasets.coco_file import CocoIndex

Kind = Literal['bbox', 'segm']
# COCO's ranges of area: up to 32 x 32 pixels, up to 96 x 96, and above.
AREAS = ('all', 'small', 'medium', 'large')
# COCO's overlaps (IoU) from which a detection is right.
OVERLAPS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class ClassMatches:
    """The detections of a class on all images, best first, at most 100 of an image.

    Attributes:
        scores: (N,), falling.
        images: (N,) int, the place of each one's image in the list of images.
        matched: (T, N) bool, whether it found an instance at each of the T overlaps.
        ignored: (T, N) bool, whether it counts as neither right nor wrong.
        truths: (I,) int, how many instances of each image count.
    """

    scores: np.ndarray
    images: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True)
class ImageMatches:
    """All detections of an image, best first, and its instances, at an overlap of 0.5.

    Attributes:
        detections: (D,) int, each one's place in the list of predictions.
        scores: (D,), falling.
        labels: (D,) int, places in the list of classes.
        found: (D,) int, the instance that each is matched with, -1 for none.
        ignored: (D,) bool, whether it counts as neither right nor wrong.
        truths: (G,) int, ids of annotations.
        truth_labels: (G,) int.
        counts: (G,) bool, whether the instance counts; crowds do not.
        overlaps: (D, G), IoU of each pair, whatever their classes.
    """

    detections: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray
    truth_labels: np.ndarray
    counts: np.ndarray
    overlaps: np.ndarray

    @cached_property
    def finders(self) -> np.ndarray:
        """(G,) int, the detection that found each instance that counts, -1 for none."""
        finders = np.full(len(self.truths), -1)
        right = np.flatnonzero((self.found >= 0) & ~self.ignored)
        finders[self.found[right]] = right
        return finders


@dataclass(frozen=True)
class Matches:
    """Predictions of one kind matched with the truth.

    Attributes:
        kind: Whether overlaps are those of boxes or of masks.
        classes: Names, in the order of their category ids.
        image_ids: (I,), rising.
        by_class: For each of `AREAS`, each class's detections.
        by_image: One for each image.
    """

    kind: Kind
    classes: tuple[str, ...]
    image_ids: tuple[Any, ...]
    by_class: dict[str, list[ClassMatches]]
    by_image: list[ImageMatches]


def match(coco: CocoIndex, predictions: Sequence[dict[str, Any]], kind: Kind) -> Matches:
    """Match predictions with the truth, by pycocotools at its own settings.

    Args:
        coco: The truth; all of its images are scored.
        predictions: COCO results of its images and categories; they stay as they are. Where there is
            a ``mask_score`` it is the score of a mask.
        kind: What overlaps are taken of.
    """
    evaluation = _QuickEvaluation(coco, coco.loadRes(_of_kind(predictions, kind)), kind)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    params = evaluation.params
    places = len(params.catIds), len(AREAS), len(params.imgIds)
    table = np.empty(places, object)
    table.reshape(-1)[:] = evaluation.evalImgs
    return Matches(
        kind=kind,
        classes=tuple(coco.cats[key]['name'] for key in params.catIds),
        image_ids=tuple(getattr(key, 'item', lambda key=key: key)() for key in params.imgIds),
        by_class={
            area: [_class_matches(column[number]) for column in table]
            for number, area in enumerate(AREAS)
        },
        by_image=[
            _image_matches(evaluation, key, table[:, 0, number], params.catIds)
            for number, key in enumerate(params.imgIds)
        ],
    )


class _QuickEvaluation(COCOeval):
    """pycocotools' evaluation, without a search for what detections match that overlap with nothing."""

    def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> Any:
        """Match those that overlap by the lowest threshold at least; the others have no match."""
        key = imgId, catId
        found, overlaps = self._dts[key], self.ious[key]
        if not found or not self._gts[key]:
            return super().evaluateImg(imgId, catId, aRng, maxDet)
        order = np.argsort([-one['score'] for one in found], kind='mergesort')[:maxDet]
        near = np.flatnonzero((overlaps >= self.params.iouThrs.min()).any(axis=1))
        self._dts[key], self.ious[key] = [found[i] for i in order[near]], overlaps[near]
        result = super().evaluateImg(imgId, catId, aRng, maxDet)
        self._dts[key], self.ious[key] = found, overlaps
        areas = np.array([found[i]['area'] for i in order])
        shape = len(self.params.iouThrs), len(order)
        matches, ignored = np.zeros(shape), np.empty(shape, bool)
        ignored[:] = (areas < aRng[0]) | (areas > aRng[1])
        matches[:, near], ignored[:, near] = result['dtMatches'], result['dtIgnore']
        return result | dict(
            dtIds=[found[i]['id'] for i in order],
            dtScores=[found[i]['score'] for i in order],
            dtMatches=matches,
            dtIgnore=ignored,
        )


def _of_kind(predictions: Sequence[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Copy predictions without what would make pycocotools take a box's area for a mask's."""
    fields = ('image_id', 'category_id', kind if kind == 'bbox' else 'segmentation')
    copies = [{key: found[key] for key in fields} for found in predictions]
    for copy, found in zip(copies, predictions, strict=True):
        copy['score'] = (
            found.get('mask_score', found['score']) if kind == 'segm' else found['score']
        )
    return copies


def _class_matches(column: np.ndarray) -> ClassMatches:
    """Join what pycocotools found of a class on all images."""
    truths = np.array([0 if e is None else np.count_nonzero(e['gtIgnore'] == 0) for e in column])
    parts = [(number, entry) for number, entry in enumerate(column) if entry is not None]
    count = len(OVERLAPS)
    scores = np.concatenate([np.zeros(0), *(entry['dtScores'] for _, entry in parts)])
    images = np.repeat([n for n, _ in parts], [len(e['dtScores']) for _, e in parts]).astype(int)
    # Mergesort, as pycocotools: equal scores stay in the order of the images.
    order = np.argsort(-scores, kind='mergesort')
    matched, ignored = (
        np.concatenate([np.zeros((count, 0)), *(e[key] for _, e in parts)], axis=1)[:, order] > 0
        for key in ('dtMatches', 'dtIgnore')
    )
    return ClassMatches(scores[order], images[order], matched, ignored, truths)


def _image_matches(
    evaluation: COCOeval, image: Any, column: np.ndarray, categories: Sequence[Any]
) -> ImageMatches:
    """Put the classes of an image together."""
    labels = {key: label for label, key in enumerate(categories)}
    truths = evaluation.cocoGt.imgToAnns.get(image, [])
    place = {truth['id']: number for number, truth in enumerate(truths)}
    columns: dict[str, list[Any]] = defaultdict(list)
    for label, entry in enumerate(column):
        if entry is None:
            continue
        columns['ids'] += entry['dtIds']
        columns['scores'] += entry['dtScores']
        columns['labels'] += [label] * len(entry['dtIds'])
        # A match of 0 is none: annotations are numbered from 1.
        columns['found'] += [place[int(key)] if key else -1 for key in entry['dtMatches'][0]]
        columns['ignored'] += list(entry['dtIgnore'][0])
    order = np.argsort(-np.array(columns['scores'], float), kind='mergesort')
    ids = np.array(columns['ids'], int)[order]
    found = [evaluation.cocoDt.anns[key] for key in ids]
    shape = 'bbox' if evaluation.params.iouType == 'bbox' else 'segmentation'
    overlaps = coco_mask.iou(
        [entry[shape] for entry in found],
        [truth[shape] for truth in truths],
        [int(truth['iscrowd']) for truth in truths],
    )
    return ImageMatches(
        detections=ids - 1,
        scores=np.array(columns['scores'], float)[order],
        labels=np.array(columns['labels'], int)[order],
        found=np.array(columns['found'], int)[order],
        ignored=np.array(columns['ignored'], bool)[order],
        truths=np.array([truth['id'] for truth in truths], int),
        truth_labels=np.array([labels[truth['category_id']] for truth in truths], int),
        counts=np.array([not truth['iscrowd'] for truth in truths], bool),
        overlaps=np.reshape(overlaps, (len(found), len(truths))),
    )
