"""MMDetection's COCO metric by faster-coco-eval, where that is installed.

Detections are matched and summed up in C++, in the place of pycocotools' Python. MMDetection's own
metric of that library averages AP over up to 1000 detections of an image where pycocotools takes 100,
so that what is averaged stays pycocotools' here.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmdet.evaluation.metrics import coco_metric
from pycocotools.cocoeval import COCOeval

# The fields that decide what is evaluated.
_PARAMS = ('imgIds', 'catIds', 'iouThrs', 'recThrs', 'maxDets', 'areaRng', 'areaRngLbl', 'useCats')


def has_fast_evaluation() -> bool:
    """Whether faster-coco-eval is installed."""
    return importlib.util.find_spec('faster_coco_eval') is not None


@contextmanager
def fast_coco_evaluation() -> Iterator[None]:
    """Let MMDetection's ``CocoMetric`` evaluate by faster-coco-eval, if it is installed."""
    original = coco_metric.COCOeval
    if has_fast_evaluation():
        coco_metric.COCOeval = FastEvaluation
    try:
        yield
    finally:
        coco_metric.COCOeval = original


class FastEvaluation(COCOeval):
    """pycocotools' evaluation, whose matches and curves are computed by faster-coco-eval.

    Images and categories whose ids are no whole numbers are left to pycocotools, as it knows no others.
    """

    _fast = False

    def evaluate(self) -> None:
        """Match detections, and compute what `accumulate` would."""
        self._fast = all(isinstance(key, int) for key in (*self.cocoGt.imgs, *self.cocoGt.cats))
        if not self._fast:
            super().evaluate()
            return
        from faster_coco_eval import COCO, COCOeval_faster

        self.params.maxDets = sorted(self.params.maxDets)
        # Its index is over copies, as it writes masks into the entries.
        truth, found = (
            COCO(index.dataset | dict(annotations=[dict(a) for a in index.dataset['annotations']]))
            for index in (self.cocoGt, self.cocoDt)
        )
        quick = COCOeval_faster(truth, found, self.params.iouType, print_function=_say_nothing)
        for name in _PARAMS:
            setattr(quick.params, name, getattr(self.params, name))
        quick.evaluate()
        quick.accumulate()
        self.eval = quick.eval
        for name in ('imgIds', 'catIds'):
            setattr(self.params, name, getattr(quick.params, name))

    def accumulate(self, p: Any = None) -> None:
        """Compute the curves of precision, if they are not there."""
        if not self._fast:
            super().accumulate(p)


def _say_nothing(*args: Any) -> None:
    """Take the place of printing."""
