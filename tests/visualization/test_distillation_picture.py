"""What is looked at is what a step would see, and the picture says what the numbers say."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from rs4d.distillation import FeatureDistiller
from rs4d.distillation.losses import normalised_l1
from rs4d.visualization.distillation_picture import (
    DistillationView,
    EmbeddingColours,
    draw_distillation,
    error_map,
    view_distillation,
)

RANDOM = np.random.default_rng(0)
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


def test_the_components_are_the_directions_of_largest_variance() -> None:
    directions, _ = np.linalg.qr(RANDOM.normal(size=(8, 8)))
    vectors = (RANDOM.normal(size=(5000, 8)) * [9, 5, 3, 1, 1, 1, 1, 1]) @ directions.T + 7
    colours = EmbeddingColours(vectors)
    along = np.abs(colours.components @ directions)
    np.testing.assert_allclose(along[:, :3], np.eye(3), atol=0.1)
    np.testing.assert_allclose(colours.components @ colours.components.T, np.eye(3), atol=1e-9)


def test_equal_vectors_have_equal_colours_in_any_map_and_run() -> None:
    features = RANDOM.normal(size=(6, 4, 5))
    colours = EmbeddingColours(features.reshape(6, -1).T)
    again = EmbeddingColours(features.reshape(6, -1)[:, ::-1].T)
    picture = colours.paint(features)
    assert picture.shape == (4, 5, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:, ::-1], colours.paint(features[:, :, ::-1]))
    np.testing.assert_allclose(picture, again.paint(features).astype(int), atol=1)


def test_the_range_is_used_and_outliers_do_not_widen_it() -> None:
    vectors = RANDOM.uniform(-1, 1, size=(1000, 3))
    vectors[0] = 1e3
    colours = EmbeddingColours(vectors, clip=0.02)
    picture = colours.paint(vectors.T[:, None]).astype(int)
    # The component of the outlier is the first.
    assert (picture[0, 1:, 0] > 0).any()
    assert picture.min() == 0
    assert picture.max() == 255
    assert (np.quantile(picture[0], [0.25, 0.75], axis=0)[1] > 150).all()


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_what_does_not_vary_is_half_bright(channels: int) -> None:
    colours = EmbeddingColours(np.full((10, channels), 3.0))
    assert (colours.paint(np.full((channels, 2, 2), 3.0)) == 128).all()


def test_values_that_are_no_numbers_do_no_harm() -> None:
    vectors = RANDOM.normal(size=(50, 4))
    vectors[3] = np.nan
    vectors[4, 1] = np.inf
    colours = EmbeddingColours(vectors)
    assert np.isfinite(colours.components).all()
    features = vectors.T[:, None]
    lost = colours.paint(features)[0, 3]
    np.testing.assert_array_equal(lost, colours.paint(colours.mean[:, None, None])[0, 0])


HEIGHT, HEADER, GAP = 64, 24, 4
COLUMNS = ('input', 'corrupted', 'teacher', 'student', 'error')


def view(
    teacher: np.ndarray, student: np.ndarray, size: tuple[int, int] = (64, 64)
) -> DistillationView:
    image = RANDOM.integers(0, 256, (64, 64, 3), np.uint8)
    return DistillationView(image, 255 - image, teacher, student, size, 0.1, 0.2)


def embedding() -> np.ndarray:
    return RANDOM.normal(size=(8, 4, 4)).astype(np.float32)


def cell(picture: np.ndarray, row: int, column: str, width: int = HEIGHT) -> np.ndarray:
    top, left = HEADER + row * (HEIGHT + GAP), COLUMNS.index(column) * (width + GAP)
    return picture[top : top + HEIGHT, left : left + width]


def enlarged(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(16, 0).repeat(16, 1)


def test_the_mean_of_the_error_map_is_the_normalised_error() -> None:
    student, teacher = embedding(), embedding()
    valid = np.zeros((4, 4), bool)
    valid[:3, :2] = True
    mean = error_map(student, teacher, valid)[valid].mean()
    maps = [torch.from_numpy(values)[None] for values in (student, teacher, valid[None])]
    assert mean == pytest.approx(normalised_l1(*maps).item(), rel=1e-5)
    assert error_map(0 * teacher, teacher, valid)[valid].mean() == pytest.approx(1)
    assert not error_map(teacher, teacher, valid).any()


def test_both_embeddings_have_the_teachers_colours() -> None:
    views = [view(embedding(), embedding()) for _ in range(2)]
    picture = draw_distillation(views, HEIGHT)
    vectors = [v.teacher.reshape(8, -1).T for v in views]
    colours = EmbeddingColours(np.concatenate(vectors))
    for row, v in enumerate(views):
        for name in ('teacher', 'student'):
            expected = enlarged(colours.paint(getattr(v, name)))
            np.testing.assert_array_equal(cell(picture, row, name), expected)
        np.testing.assert_array_equal(cell(picture, row, 'input'), v.image)
        np.testing.assert_array_equal(cell(picture, row, 'corrupted'), v.corrupted)


@pytest.mark.parametrize(
    ('student', 'expected'),
    [
        (lambda teacher: teacher, (0, 0, 4)),  # as dark as the palette gets
        (lambda teacher: 0 * teacher, (252, 255, 164)),
        (lambda teacher: 5 * teacher, (252, 255, 164)),
        (lambda teacher: np.nan * teacher, (252, 255, 164)),
    ],
    ids=['equal', 'zero', 'far off', 'no number'],
)
def test_from_black_to_pale_yellow(
    student: Callable[[np.ndarray], np.ndarray], expected: tuple[int, int, int]
) -> None:
    teacher = np.sign(embedding())  # every cell is as large
    heat = cell(draw_distillation([view(teacher, student(teacher))], HEIGHT), 0, 'error')
    # The number stands in the lower left corner.
    assert np.abs(heat[:32].astype(int) - expected).max() <= 1
    corner = heat[-16:, :40]
    assert corner.min() == 0
    assert corner.max() > 200


def test_padding_is_left_out() -> None:
    teacher, student = embedding(), embedding()
    whole = draw_distillation([view(teacher, student, size=(64, 32))], HEIGHT)
    assert whole.shape == (HEADER + HEIGHT + GAP, 5 * (32 + GAP), 3)
    teacher[:, :, 2:], student[:, :, 2:] = 100, -100
    other = draw_distillation([view(teacher, student, size=(64, 32))], HEIGHT)
    for name in ('teacher', 'student', 'error'):
        np.testing.assert_array_equal(cell(whole, 0, name, 32), cell(other, 0, name, 32))
