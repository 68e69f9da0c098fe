"""When a training is drawn, what, and that it goes on as if it had not been."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from rs4d.visualization import embedding_visualization_hook
from rs4d.visualization.distillation_picture import DistillationView, draw_distillation, error_map
from rs4d.visualization.embedding_visualization_hook import VisualizationError

# Noise and masks from the fourth step on.
LINEAR = {
    'model.corruption.schedule': dict(
        _delete_=True, type='LinearSchedule', warmup_iters=2, ramp_iters=4
    )
}
CLEAN = {'model.corruption.noise_ratio': 0.0, 'model.corruption.mask_ratio': 0.0}


def every(interval: int, **options: Any) -> list[dict[str, Any]]:
    return [dict(type='EmbeddingVisualizationHook', interval=interval, **options)]


def pictures(runner: Runner) -> dict[int, Path]:
    files = Path(runner.work_dir).rglob('vis_data/vis_image/distillation_*.png')
    return {int(file.stem.split('_')[1]): file for file in files}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[DistillationView]]:
    """What was drawn, a list of views a picture."""
    seen: list[list[DistillationView]] = []

    def draw(views: list[DistillationView], height: int) -> np.ndarray:
        seen.append(views)
        return draw_distillation(views, height)

    monkeypatch.setattr(embedding_visualization_hook, 'draw_distillation', draw)
    return seen


@pytest.mark.parametrize(('interval', 'steps'), [(2, [1, 2, 4, 5]), (1000, [1, 5])])
def test_pictures_at_the_first_step_every_n_and_the_end(
    distillation: Callable[..., Runner], interval: int, steps: list[int]
) -> None:
    runner = distillation(custom_hooks=every(interval, num_images=2, height=32))
    runner.train()
    assert sorted(pictures(runner)) == steps
    for file in pictures(runner).values():
        picture = cv2.imread(str(file))
        # Five columns, two rows, and the titles.
        assert picture.shape == (24 + 2 * 36, 5 * 36, 3)


@pytest.mark.parametrize('plain', [False, True], ids=['ResumableTrainLoop', 'EpochBasedTrainLoop'])
def test_weights_are_the_same_to_the_bit_without_it(
    distillation: Callable[..., Runner], plain: bool
) -> None:
    states = []
    for name, hooks in (('without', []), ('with', every(1))):
        runner = distillation(name, plain, custom_hooks=hooks, **LINEAR)
        runner.train()
        assert bool(pictures(runner)) == (name == 'with')
        states.append(runner.model.state_dict())
    # Noise and masks were drawn, so random numbers matter.
    assert float(runner.model.corruption.noise_ratio) > 0
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_the_error_drawn_is_the_error_reported(
    distillation: Callable[..., Runner], drawn: list[list[DistillationView]]
) -> None:
    runner = distillation(custom_hooks=every(1000, num_images=2), **CLEAN)
    runner.train()
    # The last picture and the validation are of the same two images and the same weights.
    every_cell = np.ones(drawn[-1][0].teacher.shape[-2:], bool)
    errors = [error_map(view.student, view.teacher, every_cell) for view in drawn[-1]]
    (log,) = Path(runner.work_dir).rglob('scalars.json')
    reported = json.loads(log.read_text().splitlines()[-1])['agreement/normalised_l1']
    assert np.mean(errors) == pytest.approx(reported, rel=1e-5)


def test_the_images_are_those_of_the_validation_set(
    distillation: Callable[..., Runner], drawn: list[list[DistillationView]], scenes: Path
) -> None:
    # More than there are.
    runner = distillation(custom_hooks=every(1, num_images=3), **CLEAN)
    # They are as the pipeline makes them, and it flips at random.
    dataset = runner.val_loop.dataloader.dataset
    dataset.pipeline.transforms.pop(1)
    runner.train()
    names = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert len(drawn) == 5
    for views in drawn:
        assert len(views) == len(names) == 2
        for view, name in zip(views, names, strict=True):
            np.testing.assert_array_equal(view.image, cv2.imread(name)[..., ::-1])
            np.testing.assert_array_equal(view.corrupted, view.image)


def test_without_a_validation_set_they_are_those_of_the_batch(
    distillation: Callable[..., Runner], drawn: list[list[DistillationView]]
) -> None:
    batches = []

    class Keep(Hook):
        def after_train_iter(self, runner: Runner, *args: Any, data_batch: Any, **kw: Any) -> None:
            batches.append([image.numpy().copy() for image in data_batch['inputs']])

    nothing = dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
    runner = distillation(custom_hooks=every(1, num_images=1), **nothing)
    runner.register_hook(Keep())
    runner.train()
    assert len(drawn) == len(batches) == 5
    for (view,), batch in zip(drawn, batches, strict=True):
        np.testing.assert_array_equal(view.image, batch[0][::-1].transpose(1, 2, 0))


def test_a_model_that_is_no_distiller(distillation: Callable[..., Runner]) -> None:
    class Other(BaseModel):
        def forward(self, *args: Any, **kwargs: Any) -> None: ...

    runner = distillation()
    runner.model = Other()
    with pytest.raises(VisualizationError, match=r'FeatureDistiller.*a Other.*custom_hooks'):
        runner.call_hook('before_train')


@pytest.mark.parametrize('name', ['interval', 'num_images', 'height'])
def test_numbers_below_one(name: str) -> None:
    with pytest.raises(ValueError, match=f'{name}=0'):
        HOOKS.build(dict(type='EmbeddingVisualizationHook', **{name: 0}))
