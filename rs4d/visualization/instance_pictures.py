"""Pictures of predictions: of small images as well, and of each image that a test has seen."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.registry import HOOKS, VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmdet.visualization import DetLocalVisualizer
from mmengine.fileio import get
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor

from rs4d.datasets.image_reading import decode
from rs4d.datasets.transforms import LoadRaster, raster_loader
from rs4d.engine.random_state import seeded_random_state


@VISUALIZERS.register_module()
class LegibleVisualizer(DetLocalVisualizer):
    """MMDetection's visualizer, which enlarges small images before it draws and writes on them.

    Args:
        name: The instance's name, by which MMEngine finds it again.
        min_side: Shortest side of what is drawn in pixels, for the truth and the prediction each;
            smaller images are enlarged by a whole number.
        dpi: Dots per inch of the figure, by which lines and letters have their width in pixels;
            MMEngine's would be as wide as Matplotlib's settings in this process make them.
        **kwargs: MMDetection's ``DetLocalVisualizer``.
    """

    def __init__(
        self, name: str = 'visualizer', min_side: int = 256, dpi: int = 100, **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        # MMDetection's visualizer takes no settings of figures.
        self.fig_show_cfg = dict(frameon=False, dpi=dpi)
        self.fig_save_canvas, self.fig_save, self.ax_save = self._initialize_fig(self.fig_show_cfg)
        self.dpi = dpi
        self.min_side = min_side

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Draw as MMDetection's, with the same colours each time.

        Neither the image, nor the sample, nor the random numbers of the run are changed.
        """
        if data_sample is not None and 'gt_sem_seg' in data_sample:
            # What a raster has no data for, which is no class.
            data_sample = data_sample.clone()
            del data_sample.gt_sem_seg
        factor = -(-self.min_side // min(image.shape[:2]))
        if factor > 1:
            height, width = (factor * side for side in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            if data_sample is not None:
                data_sample = data_sample.cpu()
                for key in ('gt_instances', 'pred_instances'):
                    if key in data_sample:
                        setattr(data_sample, key, _enlarge(data_sample.get(key), factor))
        # MMDetection varies the colours of masks by NumPy's global generator, and MMEngine warns of each
        # box that ends where the image does.
        with seeded_random_state((0,)), warnings.catch_warnings():
            warnings.filterwarnings('ignore', r'Warning: The (bbox|polygon) is out of bounds')
            super().add_datasample(name, image, data_sample, *args, **kwargs)


def _enlarge(instances: InstanceData, factor: int) -> InstanceData:
    larger = instances.clone()
    if 'bboxes' in larger:
        larger.bboxes = get_box_tensor(instances.bboxes) * factor
    if 'masks' in larger:
        masks = instances.masks
        if isinstance(masks, Tensor):
            larger.masks = masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        else:  # MMDetection's bitmaps or polygons
            larger.masks = masks.resize((factor * masks.height, factor * masks.width))
    return larger


@HOOKS.register_module()
class InstanceVisualizationHook(DetVisualizationHook):
    """MMDetection's hook, with images as the pipeline loads them, and none over another.

    Of a raster it shows the first three bands, or the first one as grey, in PNGs. Pictures of images in
    sub-folders go to sub-folders of ``test_out_dir``, where MMDetection's overwrite each other if they
    have the same name. Arguments are those of MMDetection's ``DetVisualizationHook``.
    """

    def before_test(self, runner: Runner) -> None:
        """Find the folder below which all images lie."""
        dataset = runner.test_dataloader.dataset
        paths = (dataset.get_data_info(i)['img_path'] for i in range(len(dataset)))
        folders = {os.path.dirname(os.path.abspath(path)) for path in paths} if self.draw else ()
        self._folder = os.path.commonpath(folders) if folders else ''

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[DetDataSample]
    ) -> None:
        """Draw the first image of a batch where it is due."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            loader = raster_loader(runner.val_dataloader.dataset)
            self._add(runner, 'val_img', outputs[0], step, loader=loader)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any, outputs: Sequence[DetDataSample]
    ) -> None:
        """Draw the images of a batch."""
        loader = raster_loader(runner.test_dataloader.dataset) if self.draw else None
        for sample in outputs if self.draw else ():
            self._test_index += 1
            out_file = None
            if self.test_out_dir is not None:
                folder = os.path.join(runner.work_dir, runner.timestamp, self.test_out_dir)
                name = os.path.relpath(os.path.abspath(sample.img_path), self._folder or '.')
                out_file = os.path.join(folder, name if loader is None else f'{name}.png')
            self._add(runner, 'test_img', sample, self._test_index, out_file, loader)

    def _add(
        self,
        runner: Runner,
        name: str,
        sample: DetDataSample,
        step: int,
        out_file: str | None = None,
        loader: LoadRaster | None = None,
    ) -> None:
        if loader is None:
            data = get(sample.img_path, backend_args=self.backend_args)
            image = decode(data, sample.img_path, noted=sample.ori_shape[::-1])
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        else:
            image = loader.picture(sample.img_path)
        # Not the one that MMEngine made last in this process, which MMDetection's hook takes.
        runner.visualizer.add_datasample(
            os.path.basename(sample.img_path) if self.show else name,
            image,
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            pred_score_thr=self.score_thr,
            out_file=out_file,
            step=step,
        )
