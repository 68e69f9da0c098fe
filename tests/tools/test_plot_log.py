"""The tool that draws curves, from arguments to picture and to explanations."""

from collections.abc import Callable
from pathlib import Path

from mmengine.visualization import LocalVisBackend


def test_picture_and_mistakes(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    backend = LocalVisBackend(str(tmp_path / 'run' / 'time' / 'vis_data'))
    for step in (1, 2, 3):
        backend.add_scalars(dict(loss=1 / step, step=step))
    tool, out = 'analysis_tools/plot_log.py', tmp_path / 'c.svg'
    code, output, _ = call(tool, tmp_path / 'run', '--out', out)
    assert (code, out.is_file()) == (0, True)
    assert str(out) in output
    code, _, message = call(tool, tmp_path / 'run', '--keys', 'speed', '--out', out)
    assert code == 2
    assert "'speed'" in message
    assert 'loss' in message
    code, _, message = call(tool, tmp_path / 'run', '--labels', 'a', 'b', '--out', out)
    assert code == 2
    assert '2 names for 1 runs' in message
