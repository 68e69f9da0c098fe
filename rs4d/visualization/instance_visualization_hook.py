"""A picture of each image that a test has seen."""

import os
from collections.abc import Sequence
from typing import Any

import cv2
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.fileio import get
from mmengine.runner import Runner

from rs4d.datasets.image_reading import decode


@HOOKS.register_module()
class InstanceVisualizationHook(DetVisualizationHook):
    """MMDetection's hook, with images as the pipeline loads them, and none over another.

    Pictures of images in sub-folders go to sub-folders of ``test_out_dir``, where MMDetection's
    overwrite each other if they have the same name. Arguments are those of MMDetection's
    ``DetVisualizationHook``.
    """

    def before_test(self, runner: Runner) -> None:
        """Find the folder below which all images lie."""
        dataset = runner.test_dataloader.dataset
        paths = (dataset.get_data_info(i)['img_path'] for i in range(len(dataset)))
        folders = {os.path.dirname(path) for path in paths} if self.draw else ()
        self._folder = os.path.commonpath(folders) if folders else ''

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[DetDataSample]
    ) -> None:
        """Draw the first image of a batch where it is due."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._add('val_img', outputs[0], step)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[DetDataSample]
    ) -> None:
        """Draw the images of a batch."""
        for sample in outputs if self.draw else ():
            self._test_index += 1
            out_file = None
            if self.test_out_dir is not None:
                folder = os.path.join(runner.work_dir, runner.timestamp, self.test_out_dir)
                name = os.path.relpath(sample.img_path, self._folder or '.')
                out_file = os.path.join(folder, name)
            self._add('test_img', sample, self._test_index, out_file)

    def _add(
        self, name: str, sample: DetDataSample, step: int, out_file: str | None = None
    ) -> None:
        data = get(sample.img_path, backend_args=self.backend_args)
        image = decode(data, sample.img_path, noted=sample.ori_shape[::-1])
        self._visualizer.add_datasample(
            os.path.basename(sample.img_path) if self.show else name,
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            pred_score_thr=self.score_thr,
            out_file=out_file,
            step=step,
        )
