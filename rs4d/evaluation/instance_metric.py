"""COCO's average precision of boxes and masks, without the traps of the files it is taken on."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

from rs4d.compat.coco_evaluation import fast_coco_evaluation
from rs4d.datasets.annotation_checks import check_annotations
from rs4d.datasets.coco_file import CocoIndex, read_coco
from rs4d.datasets.errors import AnnotationError

from .recorded_test import write_predictions, write_truth

_REMEDY = 'Check ann_file of val_evaluator and test_evaluator in the config.'


@METRICS.register_module()
class InstanceMetric(CocoMetric):
    """MMDetection's ``CocoMetric``, where an annotation counts whatever its id is.

    pycocotools takes the id 0 for "no match", so that a perfect prediction of that instance counts
    as false: on files that begin with 0, figures of other evaluators are a little too low. Here
    annotations are numbered anew. Scored are the images that the data set yields, each once; images
    of several sets are told apart also where their ids are the same. Where nothing was predicted AP
    is 0. What a training leaves out, as empty boxes, is neither hit nor missed. Where faster-coco-eval
    is installed the same figures are computed by it, in less time.

    Args:
        ann_file: The COCO file with the truth; without it, the truth comes with the samples.
        metric: ``'bbox'``, ``'segm'`` or a list of both.
        iou_thrs: Overlaps from which a detection counts, 0.5 to 0.95 by default.
        classwise: Whether to score each class, which needs the default overlaps.
        **kwargs: Passed to :class:`mmdet.evaluation.CocoMetric`.

    Attributes:
        record_to: A folder to which truth and predictions are written when they are scored, for
            `rs4d.evaluation.read_test`; None is nowhere.

    Raises:
        AnnotationError: The file cannot be used, or the settings contradict each other.
        DatasetNotFoundError: The file is missing.
    """

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | list[str] = 'bbox',
        iou_thrs: float | Sequence[float] | None = None,
        classwise: bool = False,
        backend_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(None, metric, classwise, backend_args=backend_args, **kwargs)
        self.ann_file = ann_file
        self._paths: dict[Any, str] = {}
        self.record_to: Path | None = None
        if iou_thrs is not None:
            # Lists fail in pycocotools under NumPy 2.
            self.iou_thrs: np.ndarray = np.atleast_1d(np.asarray(iou_thrs, float))
            if classwise and len(self.iou_thrs) < 6:
                raise AnnotationError(
                    f'The evaluator has classwise=True and iou_thrs={iou_thrs}: scores of classes '
                    'are taken at the default overlaps alone. Leave one of the two out.'
                )

    @CocoMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any]) -> None:
        """Take the classes of the data set, and read the truth with them before anything runs."""
        self._dataset_meta = dataset_meta
        self._paths.clear()
        if self.ann_file is not None:
            content = read_coco(self.ann_file, _REMEDY, self.backend_args)
            checked = check_annotations(content, dataset_meta['classes'])
            checked.refuse(self.ann_file, log=False)
            self._coco_api: Any = CocoIndex(content, checked.without_mask)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the predictions of a batch: ``pred_instances``, ``img_id``, ``ori_shape``, ``img_path``.

        Raises:
            AnnotationError: The evaluator's file does not describe these images, or the model
                predicts no masks to score.
        """
        for sample in data_samples:
            self._require_image(sample)
            if self.ann_file is None and 'instances' not in sample:
                raise AnnotationError(
                    'The evaluator has no truth: give it the ann_file of its data set, or write '
                    "'instances' to meta_keys of PackDetInputs in the test pipeline."
                )
            if 'segm' in self.metrics and 'masks' not in sample['pred_instances']:
                raise AnnotationError(
                    "The evaluator is to score masks, but the model predicts none. Set metric='bbox' "
                    'in the evaluator, or use a model with a mask head.'
                )
        before = len(self.results)
        super().process(data_batch, data_samples)
        for (truth, _), sample in zip(self.results[before:], data_samples, strict=True):
            truth['img_path'] = sample.get('img_path')

    def check_dataset(self, dataset: Any) -> None:
        """Make sure, before anything runs, that the truth is that of a data set.

        Raises:
            AnnotationError: The evaluator's file does not describe an image of it.
        """
        for index in range(len(dataset)):
            self._require_image(dataset.get_data_info(index))

    def _require_image(self, sample: dict[str, Any]) -> None:
        if self.ann_file is None:
            return
        key, path = sample['img_id'], os.path.normpath(sample.get('img_path') or '')
        image = self._coco_api.imgs.get(key)
        if image is None or not _ends_in(path, image['file_name']):
            known = f"is '{image['file_name']}'" if image else 'does not exist'
            raise AnnotationError(
                f"The evaluator's annotation file '{self.ann_file}' is not that of the data set: "
                f"image {key!r} of the data set is '{path}', in the file it {known}. "
                'Give the evaluator the ann_file of its data set.'
            )
        if self._paths.setdefault(key, path) != path:
            raise AnnotationError(
                f"The evaluator's annotation file '{self.ann_file}' has one image {key!r}, but the "
                f"data set has two: '{self._paths[key]}' and '{path}'. Leave ann_file out of the "
                "evaluator and write 'instances' to meta_keys of PackDetInputs in the test "
                'pipeline, so that the truth comes with the images of all sets.'
            )

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Score the truth and prediction of each image; returns the scores by name."""
        # Ids may be those of several sets, but no two images agree in their path and truth, too.
        pairs = list({str(truth): (truth, prediction) for truth, prediction in results}.values())
        if len({truth['img_id'] for truth, _ in pairs}) < len(pairs):
            pairs = [(dict(t, img_id=i), dict(p, img_id=i)) for i, (t, p) in enumerate(pairs)]
        self.img_ids = [truth['img_id'] for truth, _ in pairs]
        if self.ann_file is None:
            self._coco_api = self._index_of([truth for truth, _ in pairs])
        elif len(pairs) < len(self._coco_api.imgs):
            MMLogger.get_current_instance().warning(
                f'Scored are the {len(pairs)} images that the data set yields, of '
                f"{len(self._coco_api.imgs)} in '{self.ann_file}'."
            )
        if self.record_to is not None:
            paths = {truth['img_id']: truth.get('img_path') or '' for truth, _ in pairs}
            write_truth(self.record_to, self._coco_api, paths)
        ids = {entry['name']: key for key, entry in self._coco_api.cats.items()}
        self.cat_ids = [ids[name] for name in self.dataset_meta['classes']]
        # pycocotools says on the terminal what the log has, too.
        with contextlib.redirect_stdout(io.StringIO()), fast_coco_evaluation():
            scores = super().compute_metrics(pairs)
        if self.ann_file is None:
            self._coco_api = None  # the next samples bring their own truth
        return scores

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        """Write the predictions with the category ids of the truth; returns the files by metric."""
        if self.record_to is not None:
            write_predictions(self.record_to, results, self.cat_ids)
        files = super().results2json(results, outfile_prefix)
        # Labels are ids from here on. pycocotools sorts these, and MMDetection gives the n-th score
        # to the n-th of its own list.
        self.cat_ids = sorted(self.cat_ids)
        return files

    def _index_of(self, truths: list[dict[str, Any]]) -> CocoIndex:
        """Index the truth that came with the samples."""
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or os.path.join(folder, 'results')
            with open(self.gt_to_coco_json(truths, prefix), encoding='utf-8') as file:
                return CocoIndex(dict(annotations=[]) | json.load(file))


def _ends_in(path: str, file_name: str) -> bool:
    """Whether an image's path is that of a name in an annotation file; no path agrees with all."""
    name = os.path.normpath(file_name)
    return path in ('.', name) or path.endswith(os.sep + name)
