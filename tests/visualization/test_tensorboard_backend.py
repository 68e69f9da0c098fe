"""What TensorBoard reads of a distillation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rs4d.visualization import TensorBoardBackend

SCALARS = {'loss', 'error', 'noise_ratio', 'mask_ratio', 'lr', 'images_per_s', 'memory'}


def event_files(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).rglob('events.out.tfevents.*'))


def read_events(folder: Path) -> Any:
    events = EventAccumulator(str(folder), size_guidance=dict(scalars=0, images=0, tensors=0))
    return events.Reload()


def scalar_lines(work_dir: str) -> list[dict[str, float]]:
    (file,) = Path(work_dir).rglob('scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_distillation_in_tensorboard(distillation: Callable[..., Runner]) -> None:
    # Noise and masks from the fourth step on.
    schedule = {
        'model.corruption.schedule': dict(
            _delete_=True, type='LinearSchedule', warmup_iters=2, ramp_iters=4
        )
    }
    runner = distillation(**schedule)
    runner.train()
    (file,) = event_files(runner.work_dir)
    assert file.parent.name == 'vis_data'
    events = read_events(file.parent)
    assert set(events.Tags()['scalars']) >= SCALARS
    steps = [line for line in scalar_lines(runner.work_dir) if 'loss' in line]
    for name in SCALARS:
        found = events.Scalars(name)
        assert [event.step for event in found] == [1, 2, 3, 4, 5], name
        expected = [line[name] for line in steps]
        assert [event.value for event in found] == pytest.approx(expected, rel=1e-6), name
    for name in ('noise_ratio', 'mask_ratio'):
        values = [event.value for event in events.Scalars(name)]
        assert values == pytest.approx([0, 0, 0, 0.1, 0.2])
    assert all(event.value > 0 for event in events.Scalars('images_per_s'))
    assert [event.step for event in events.Scalars('agreement/normalised_l1')] == [1]
    assert [event.step for event in events.Images('distillation')] == [1, 5]
    (config,) = events.Tensors('config/text_summary')
    assert '    model=dict(' in config.tensor_proto.string_val[0].decode()


def test_what_logs_nothing_leaves_no_file(tmp_path: Path) -> None:
    backend = TensorBoardBackend(str(tmp_path))
    backend.add_config(Config(dict(a=1)))
    backend.close()
    assert not event_files(tmp_path)
