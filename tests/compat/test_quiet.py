"""What is kept from the terminal is still said by those who say it, or the patch can go."""

import ast
import importlib.util
from pathlib import Path

import mmengine.config.config as config
import mmengine.fileio.file_client as file_client
import mmengine.logging
import pytest

from rs4d.compat.quiet import NOISE, WARNING


def said_by(file: str) -> list[str]:
    """The texts in a source file; neighbouring ones are one."""
    tree = ast.parse(Path(file).read_text(encoding='utf-8'))
    return [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) is str]


def test_each_line_is_still_said() -> None:
    datasets = importlib.util.find_spec('mmdet.datasets')
    assert datasets is not None
    assert datasets.origin is not None
    said = said_by(datasets.origin) + said_by(file_client.__file__) + said_by(config.__file__)
    metrics = Path(datasets.origin).parents[1] / 'evaluation' / 'metrics' / 'faster_coco_metric.py'
    said += said_by(str(metrics))
    for noise in (*NOISE, WARNING):
        assert any(text.startswith(noise) for text in said), f'{noise} is no longer said'


@pytest.mark.parametrize('module', [mmengine.logging, file_client, config])
def test_only_these_lines_go(
    module: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_log = getattr(module, 'print_log')  # noqa: B009 - of several modules
    for noise in NOISE:
        print_log(f'{noise} and so on', logger=None)
    print_log('something else', logger=None)
    assert capsys.readouterr().out == 'something else\n'
