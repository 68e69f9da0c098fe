"""The tools that count: one config, and all of them as a table."""

import shutil
from collections.abc import Callable
from pathlib import Path

from mmengine.registry import DefaultScope

from rs4d.analysis.config_matrix import BEGIN, END

ROOT = Path(__file__).parents[2]
Call = Callable[..., tuple[int, str, str]]
LIST = 'analysis_tools/list_configs.py'


def test_table_is_printed_and_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / 'configs' / 'demo').mkdir(parents=True)
    name = 'rs4d-tiny_efficientnet-lite0_scenes.py'
    shutil.copytree(ROOT / 'configs' / '_base_', tmp_path / 'configs' / '_base_')
    shutil.copy(ROOT / 'configs' / 'demo' / name, tmp_path / 'configs' / 'demo')
    page = tmp_path / 'page.md'
    page.write_text(f'{BEGIN}\n{END}\nend\n')
    root = ('--root', tmp_path)

    code, output, _ = call(LIST, *root)
    assert (code, output.split()) == (0, [str(tmp_path / 'configs' / 'demo' / name)])
    code, output, _ = call(LIST, *root, '--costs')
    assert code == 0
    row = next(line for line in output.splitlines() if line.startswith('| [rs4d-tiny'))
    assert 'teacher tf_efficientnet_lite0' in row

    assert call(LIST, *root, '--write', page)[0] == 0
    assert row in page.read_text()
    assert page.read_text().endswith(f'{END}\nend\n')

    code, _, message = call(LIST, *root, '--write', tmp_path / 'nowhere.md')
    assert code == 2
    assert 'nowhere.md' in message


def test_any_detector_is_counted_whatever_ran_before(call: Call) -> None:
    config = ROOT / 'configs' / 'rs4d' / 'rs4d-base_condinst_ssdd.py'
    options = ('--scope', 'model', '--shape', '64')
    with DefaultScope.overwrite_default_scope('mmengine'):
        code, output, _ = call('analysis_tools/get_flops.py', config, *options)
    assert code == 0, output[-2000:]
    assert 'parameters      22.00 M' in output
