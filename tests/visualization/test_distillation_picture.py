"""The picture says what the numbers say, and both embeddings speak the same colours."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rs4d.distillation.agreement import normalised_l1
from rs4d.visualization.distillation_picture import (
    DistillationView,
    EmbeddingColours,
    draw_distillation,
    error_map,
)

RANDOM = np.random.default_rng(0)
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
