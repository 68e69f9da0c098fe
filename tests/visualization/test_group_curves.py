"""Mean and range of runs that differ in their seeds."""

from pathlib import Path

import cv2
import pytest
from matplotlib.axes import Axes

from rs4d.visualization import TrainingLogError, TrainingRun, draw_groups

KEYS = {'coco/segm_mAP': 'mask AP'}


def run(values: list[float], minutes: list[float]) -> TrainingRun:
    steps = [float(10 * (number + 1)) for number in range(len(values))]
    return TrainingRun(
        'run', {}, {'coco/segm_mAP': (steps, values), 'cpu_minutes': (steps, minutes)}
    )


def test_mean_and_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple] = []
    monkeypatch.setattr(
        Axes, 'plot', lambda axes, x, y, *_, label, **__: drawn.append((label, [*x], [*y]))
    )
    monkeypatch.setattr(
        Axes, 'fill_between', lambda axes, x, low, high, **_: drawn.append(([*low], [*high]))
    )
    groups = dict(
        two=[run([0.25, 0.5, 0.75], [1, 2, 3]), run([0.75, 1.0], [3, 4])],
        one=[run([0.5], [7])],
    )
    draw_groups(groups, KEYS, tmp_path / 'a.png', 'cpu_minutes')
    assert drawn == [
        ('two', [2, 3], [0.5, 0.75]),
        ([0.25, 0.5], [0.75, 1.0]),
        ('one', [7], [0.5]),
    ]
    drawn.clear()
    draw_groups(groups, KEYS, tmp_path / 'a.png')
    assert drawn[0] == ('two', [10, 20], [0.5, 0.75])


def test_a_picture(tmp_path: Path) -> None:
    out = draw_groups(dict(a=[run([0.1, 0.2], [1, 2])]), KEYS, tmp_path / 'new' / 'a.png')
    assert cv2.imread(str(out)).std() > 1
    with pytest.raises(TrainingLogError, match="validation with 'loss'"):
        draw_groups(dict(a=[run([0.1], [1])]), dict(loss='loss'), out)
