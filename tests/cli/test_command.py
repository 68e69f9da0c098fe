"""The command ``rs4d``: it answers at once, and all of its sub-commands have their help."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rs4d.cli import COMMANDS, main, parse

ROOT = Path(__file__).parents[2]
COMMAND = str(ROOT / 'tools' / 'rs4d_command.py')
HELP = [[COMMAND, '--help'], [COMMAND, 'train', '--help']]
HELP += [[str(path), '--help'] for path in sorted((ROOT / 'tools').rglob('*.py'))]
PLAIN = ('demo.py', 'build_docs.py')  # they run other tools


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the package and the command of this folder, whatever is installed."""
    path = os.pathsep.join([str(ROOT), str(ROOT / 'tools')])
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize('words', HELP, ids=lambda words: Path(words[-2]).name)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    if Path(words[0]).name in PLAIN:
        pytest.skip('no sub-command')
    result = python('-X', 'importtime', *words)
    assert result.returncode == 0
    assert 'usage: rs4d' in result.stdout
    imported = {line.rsplit('|')[-1].strip() for line in result.stderr.splitlines()}
    assert not imported & {'torch', 'numpy', 'mmengine', 'mmdet', 'rs4d.models'}


@pytest.mark.parametrize('words', [*HELP[:2], ['tools/train.py', '--help']], ids=str)
def test_help_comes_within_half_a_second(words: list[str]) -> None:
    """The best of five, since other processes may have the processor."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert python(*words).returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_every_sub_command_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main('--help')
    printed = capsys.readouterr().out
    for name in COMMANDS:
        assert f'\n    {name} ' in printed or f'\n    {name}\n' in printed


def test_the_package_is_whole_when_work_begins() -> None:
    """What was imported to read the arguments is the package that then registers its parts."""
    code = (
        'import sys; sys.argv = ["rs4d", "plot-log", "nowhere"]\n'
        'from rs4d_command import main\n'
        'assert main() == 2\n'
        'import rs4d; from mmdet.registry import MODELS\n'
        'assert rs4d.models.backbones.RSMamba is MODELS.get("RSMamba")\n'
        'assert rs4d.cli.main'
    )
    result = python('-c', code)
    assert result.returncode == 0, result.stderr[-2000:]
    assert '\nplot-log: ' in result.stderr


def test_the_traceback_is_shown_if_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main('flops', 'configs/nowhere.py') == 2
    assert 'Traceback' not in capsys.readouterr().err
    monkeypatch.setenv('RS4D_TRACEBACK', '1')
    assert main('flops', 'configs/nowhere.py') == 2
    shown = capsys.readouterr().err
    assert 'Traceback' in shown
    assert shown.rstrip().split('\n')[-1].startswith("flops: The config 'configs/nowhere.py'")


@pytest.mark.parametrize('module', ['rs4d.cli', 'torch', 'mmdet'])
def test_interrupted_while_python_imports(module: str) -> None:
    code = (
        'import sys; sys.argv = ["rs4d", "train", "nowhere.py"]\n'
        'class Interrupt:\n'
        '    def find_spec(self, name, *rest):\n'
        f'        if name == {module!r}:\n'
        '            raise KeyboardInterrupt\n'
        'sys.meta_path.insert(0, Interrupt())\n'
        'from rs4d_command import main\n'
        'sys.exit(main())\n'
    )
    result = python('-c', code)
    assert result.returncode == 130, result.stderr[-2000:]
    assert result.stderr == '\ntrain: interrupted. Nothing was written.\n'


@pytest.mark.parametrize(('own', 'count'), [({}, '10000'), ({'OMP_WAIT_POLICY': 'active'}, 'None')])
def test_threads_wait_politely_from_the_start(own: dict[str, str], count: str) -> None:
    """OpenMP reads how its threads wait when PyTorch is imported."""
    code = (
        'import os, sys; sys.argv = ["rs4d", "plot-log", "nowhere"]\n'
        'class Watch:\n'
        '    def find_spec(self, name, *rest):\n'
        '        if name == "torch":\n'
        '            sys.exit("count " + str(os.environ.get("GOMP_SPINCOUNT")))\n'
        'sys.meta_path.insert(0, Watch())\n'
        'from rs4d_command import main\n'
        'main()\n'
    )
    names = {'GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'}
    environment = {key: value for key, value in os.environ.items() if key not in names} | own
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.stderr == f'count {count}\n'


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['trian', 'a.py'], "no command 'trian'. Did you mean 'train'?"),
        (['tile', 'a.tif', '--labels', 'b.gpkg', '--out', 'c', '--sise', '256'], "'--size'?"),
        (['predict', '-', 'a.pth', 'a.tif', '--out', 'c', '--formt=coco'], "'--format'?"),
        (['benchmark', 'scan', '--thraeds', '2'], 'See rs4d benchmark --help.'),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(words)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_no_word_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse([])
    assert stop.value.code == 0
    assert 'usage: rs4d' in capsys.readouterr().out
