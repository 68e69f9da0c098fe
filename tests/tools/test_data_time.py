"""How much of a run's steps was waiting, from its log."""

from collections.abc import Callable
from pathlib import Path

from mmengine.visualization import LocalVisBackend

TOOL = ('analysis_tools/benchmark.py', 'data-time')
Call = Callable[..., tuple[int, str, str]]


def log(folder: Path, **scalars: list[float]) -> Path:
    backend = LocalVisBackend(str(folder / 'time' / 'vis_data'))
    for step, values in enumerate(zip(*scalars.values(), strict=True), 1):
        backend.add_scalars(dict(zip(scalars, values, strict=True), step=step))
    return folder


def test_shares(call: Call, tmp_path: Path) -> None:
    run = log(
        tmp_path / 'run',
        loss=[1.0] * 4,
        time=[4.0, 1.0, 2.0, 1.0],
        data_time=[2.0, 0.01, 0.1, 0.03],
    )
    code, output, _ = call(*TOOL, run)
    assert code == 0
    assert 'run: 4 entries, 8.0 s, of which 2.14 s (26.75%) waiting for data' in output
    assert 'median 4.00%, worst 50.00% of an entry' in output
    code, output, _ = call(*TOOL, run, '--skip', '1')
    assert '3 entries, 4.0 s, of which 0.14 s (3.50%)' in output
    assert 'median 3.00%, worst 5.00%' in output


def test_mistakes(call: Call, tmp_path: Path) -> None:
    run = log(tmp_path / 'run', loss=[1.0], time=[1.0])
    code, _, last = call(*TOOL, run)
    assert code == 2
    assert 'has no data_time' in last
    run = log(tmp_path / 'other', loss=[1.0], time=[1.0], data_time=[0.1])
    code, _, last = call(*TOOL, run, '--skip', '1')
    assert code == 2
    assert '--skip leaves none' in last
