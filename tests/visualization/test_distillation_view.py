"""What is looked at is what a step would see, and looking changes nothing."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from rs4d.distillation import FeatureDistiller
from rs4d.visualization.distillation_picture import view_distillation

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@MODELS.register_module(force=True)
class NormedPatches(BaseModule):
    """Patches through batch normalisation, whose statistics a look must not move."""

    def __init__(self, embed_dims: int = 8) -> None:
        super().__init__()
        self.embed_dims = embed_dims
        self.patches = nn.Conv2d(3, embed_dims, 16, 16)
        self.norm = nn.BatchNorm2d(embed_dims)

    def forward(self, img: Tensor) -> tuple[Tensor]:
        return (self.norm(self.patches(img)),)


def build(noise: float = 0.0, mask: float = 0.0, **preprocessor: Any) -> FeatureDistiller:
    torch.manual_seed(0)
    model = FeatureDistiller(
        student=dict(type='NormedPatches'),
        teacher=dict(type='NormedPatches', embed_dims=12),
        corruption=dict(
            type='NoiseAndMask',
            noise_ratio=noise,
            mask_ratio=mask,
            schedule=dict(type='FixedSchedule'),
        ),
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=64) | preprocessor,
    )
    model.init_weights()
    return model


def prepare(model: FeatureDistiller, images: list[Tensor]) -> tuple[Tensor, list[BaseDataElement]]:
    samples = [BaseDataElement(metainfo=dict(img_shape=tuple(i.shape[1:]))) for i in images]
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), False)
    return batch['inputs'], batch['data_samples']


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    """BGR, as files are read."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes
    ]


@pytest.mark.parametrize(
    'preprocessor', [dict(mean=MEAN, std=STD, bgr_to_rgb=True), dict(mean=MEAN, std=STD), {}]
)
def test_the_pixels_are_those_of_the_file(preprocessor: dict[str, Any]) -> None:
    raw = images((64, 64), (30, 40))
    model = build(**preprocessor)
    views = view_distillation(model, *prepare(model, raw))
    for view, image in zip(views, raw, strict=True):
        height, width = image.shape[1:]
        assert view.size == (height, width)
        assert view.image.shape == (64, 64, 3)
        rgb = image.flip(0).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(view.image[:height, :width], rgb)
        np.testing.assert_array_equal(view.corrupted, view.image)


def test_corrupted_as_a_step_would() -> None:
    model = build(noise=0.2, mask=0.25, mean=MEAN, std=STD, bgr_to_rgb=True)
    (view,) = view_distillation(model, *prepare(model, images((64, 64))))
    assert (view.noise_ratio, view.mask_ratio) == pytest.approx((0.2, 0.25))
    grey = np.round(MEAN)
    patches = view.corrupted.reshape(4, 16, 4, 16, 3).swapaxes(1, 2)
    dropped = (patches == grey).all((2, 3, 4))
    assert dropped.sum() == 4
    noise = patches.astype(float) - view.image.reshape(4, 16, 4, 16, 3).swapaxes(1, 2)
    assert 5 < noise[~dropped].std() < 20  # 0.2 of a standard deviation of 74, less what is clipped


def test_the_maps_are_those_of_the_report() -> None:
    model = build(mean=MEAN, std=STD)
    inputs, samples = prepare(model, images((64, 64), (30, 40)))
    views = view_distillation(model, inputs, samples)
    reported = model.eval().predict(inputs, samples)
    for view, report in zip(views, reported, strict=True):
        assert view.teacher.shape == view.student.shape == (12, 4, 4)
        rows, columns = (-(-side // 16) for side in view.size)
        student, teacher = (m[:, :rows, :columns] for m in (view.student, view.teacher))
        error = np.abs(student - teacher).sum() / np.abs(teacher).sum()
        assert error == pytest.approx(report.normalised_l1.item(), rel=1e-5)


def test_looking_changes_nothing() -> None:
    model = build(noise=0.2, mask=0.25, mean=MEAN, std=STD).train()
    model.student.patches.eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    inputs, samples = prepare(model, images((64, 64), (64, 64)))
    before = inputs.clone()
    view_distillation(model, inputs, samples)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(inputs, before)
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
