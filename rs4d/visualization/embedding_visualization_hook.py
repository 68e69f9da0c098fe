"""Pictures of a distillation while it runs."""

from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from rs4d.distillation import FeatureDistiller
from rs4d.engine.random_state import kept_random_state
from rs4d.errors import ConfigError, UserError

from .distillation_picture import draw_distillation, view_distillation


class VisualizationError(UserError, ValueError):
    """A picture was asked for that this training cannot give."""


@HOOKS.register_module()
class EmbeddingVisualizationHook(Hook):
    """Draw what the student is given, and how its embedding compares with the teacher's.

    The picture of `draw_distillation` goes through the runner's visualizer to all
    of its backends: ``vis_data/vis_image/distillation_<iteration>.png`` in the run's folder, and
    TensorBoard. It shows the first images of the validation set, always the same, or without a
    validation set those of the batch. Training goes on as if nothing had been drawn.

    Args:
        interval: Iterations between pictures. There is also one after the very first step, which
            shows if images and teacher are as they should be, and one at the end.
        num_images: Rows of the picture.
        height: Height of a row in pixels.

    Raises:
        ConfigError: If one of the numbers is below 1.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 1000, num_images: int = 2, height: int = 256) -> None:
        numbers = dict(interval=interval, num_images=num_images, height=height)
        wrong = [f'{key}={value}' for key, value in numbers.items() if value < 1]
        if wrong:
            raise ConfigError(
                f'EmbeddingVisualizationHook: {", ".join(wrong)} should be at least 1. To have no '
                "pictures, take the hook out of the config's custom_hooks."
            )
        self.interval = interval
        self.num_images = num_images
        self.height = height
        self._held_out: Any = None

    def before_train(self, runner: Runner) -> None:
        """Refuse a model that is no distiller."""
        wrapped = is_model_wrapper(runner.model)
        self._model: Any = runner.model.module if wrapped else runner.model
        if not isinstance(self._model, FeatureDistiller):
            raise VisualizationError(
                f'EmbeddingVisualizationHook draws the student and the teacher of a '
                f'FeatureDistiller, and the model of this config is a {type(self._model).__name__}. '
                'Take the hook out of custom_hooks.'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw where it is due."""
        step = runner.iter + 1
        due = step == 1 or step % self.interval == 0 or step == runner.max_iters
        if not due or not is_main_process():
            return
        with kept_random_state():
            batch = self._model.data_preprocessor(self._choose(runner, data_batch), False)
            samples = batch.get('data_samples')
            inputs = batch['inputs'][: self.num_images]
            views = view_distillation(self._model, inputs, samples and samples[: self.num_images])
        runner.visualizer.add_image('distillation', draw_distillation(views, self.height), step)

    def _choose(self, runner: Runner, data_batch: Any) -> Any:
        """The images of the validation set if there is one, else the batch's."""
        loop = runner.val_loop
        if loop is None or not len(loop.dataloader.dataset):
            return data_batch
        if self._held_out is None:
            loader = loop.dataloader
            count = min(self.num_images, len(loader.dataset))
            self._held_out = loader.collate_fn([loader.dataset[i] for i in range(count)])
        return self._held_out
