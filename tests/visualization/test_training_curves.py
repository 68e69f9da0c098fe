"""Reading MMEngine's scalars, written by MMEngine itself, and drawing them."""

import json
from pathlib import Path

import cv2
import pytest
from mmengine.visualization import LocalVisBackend

from rs4d.visualization import TrainingLogError, draw_curves, last_validation, read_run
from rs4d.visualization.training_curves import smoothed


def write_run(folder: Path, first: int = 0, last: int = 6) -> Path:
    backend = LocalVisBackend(str(folder / f'2026_{first}' / 'vis_data'))
    for step in range(first, last):
        backend.add_scalars(dict(loss=10.0 - step, lr=0.1, step=10 * step + 10))
        if step % 3 == 2:
            backend.add_scalars({'coco/segm_mAP': step / 10, 'step': step // 3 + 1})
    return folder


def test_validations_stand_where_the_training_stood(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / 'a'))
    assert run.label == 'a'
    assert run.training['loss'] == ([10, 20, 30, 40, 50, 60], [10, 9, 8, 7, 6, 5])
    assert run.validation['coco/segm_mAP'] == ([30, 60], [0.2, 0.5])


def test_a_resumed_run_is_one_run(tmp_path: Path) -> None:
    write_run(tmp_path / 'a', 0, 5)
    write_run(tmp_path / 'a', 3, 6)  # goes on from a checkpoint of step 30
    assert read_run(tmp_path / 'a').training == read_run(write_run(tmp_path / 'b')).training


def test_half_a_last_line_is_tolerated_and_no_other(tmp_path: Path) -> None:
    write_run(tmp_path / 'a')
    (file,) = tmp_path.rglob('scalars.json')
    whole = file.read_text()
    file.write_text(whole + '{"loss": 1.2')
    assert len(read_run(file).training['loss'][0]) == 6
    file.write_text('{"loss": 1.2\n' + whole)
    with pytest.raises(TrainingLogError, match='Line 1'):
        read_run(file)


@pytest.mark.parametrize('ending', ['png', 'svg'])
def test_draws_several_runs(tmp_path: Path, ending: str) -> None:
    runs = [read_run(write_run(tmp_path / name)) for name in 'ab']
    out = draw_curves(runs, ['loss', 'coco/segm_mAP'], tmp_path / f'new/c.{ending}', smooth=0.5)
    if ending == 'png':
        assert cv2.imread(str(out)).std() > 1
    else:
        assert '<svg' in out.read_text()


def test_mistakes_are_explained(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / 'a'))
    with pytest.raises(TrainingLogError, match=r"'los'.*coco/segm_mAP, loss, lr"):
        draw_curves([run], ['los'], tmp_path / 'c.png')
    with pytest.raises(TrainingLogError, match=r'\.png or \.svg'):
        draw_curves([run], ['loss'], tmp_path / 'c.bmp')
    with pytest.raises(TrainingLogError, match='smooth'):
        draw_curves([run], ['loss'], tmp_path / 'c.png', smooth=1.0)
    with pytest.raises(TrainingLogError, match='work dir'):
        read_run(tmp_path / 'nothing')
    (tmp_path / 'scalars.json').write_text(json.dumps(dict(other=1)))
    with pytest.raises(TrainingLogError, match='empty'):
        read_run(tmp_path / 'scalars.json')


def test_smoothing_keeps_a_constant_and_averages() -> None:
    assert smoothed([3.0, 3.0, 3.0], 0.9) == pytest.approx([3, 3, 3])
    assert smoothed([0.0, 1.0], 0.5) == pytest.approx([0, 2 / 3])
    assert smoothed([1.0, 5.0], 0.0) == [1, 5]


def test_the_last_validation_counts_in_a_resumed_run(tmp_path: Path) -> None:
    assert last_validation(tmp_path) is None
    write_run(tmp_path / 'a', 0, 4)
    assert last_validation(tmp_path / 'a') == (1, {'coco/segm_mAP': 0.2})
    write_run(tmp_path / 'a', 4, 6)
    assert last_validation(tmp_path / 'a') == (2, {'coco/segm_mAP': 0.5})
    write_run(tmp_path / 'a', 6, 7)  # a start that had no validation
    assert last_validation(tmp_path / 'a') == (2, {'coco/segm_mAP': 0.5})
