"""Whole detectors compared: the command, from end to end, and what the tables say."""

import json
from pathlib import Path

import pytest

from rs4d.analysis.benchmark.detectors import PARTS
from rs4d.analysis.benchmark.models import _table
from rs4d.analysis.benchmark.record import Record
from rs4d.cli import main, parse

ROOT = Path(__file__).parents[3]
TINY = ROOT / 'tests/tools/tiny_config.py'


@pytest.mark.parametrize(
    'words', ['--models a b --rounds 3', '--modes train --models a b --rounds 3']
)
def test_the_option_is_the_kind(words: str) -> None:
    args = parse(['benchmark', *words.split()])
    assert args.configs == ['a', 'b']
    assert args.rounds == 3


def test_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / 'other.py'
    other.write_text(f"_base_ = ['{TINY}']\n")
    picture = tmp_path / 'parts.png'
    options = (
        '--modes predict train --precisions float32 bf16 --disturb 1 --rounds 1 --warmup 0 '
        '--detections 5'
    )
    words = ['--models', TINY, other, '--baseline', TINY, '--out', tmp_path, '--plot', picture]
    assert main('benchmark', *words, *options.split(), '--no-memory') == 0
    printed = capsys.readouterr().out
    assert (tmp_path / 'models.md').read_text().strip() in printed
    assert picture.stat().st_size > 1000
    records = json.loads((tmp_path / 'models.json').read_text())['records']
    assert len(records) == 8
    for record in records:
        assert record['objects'] == (5 if record['mode'] == 'predict' else 20)
        assert len(record['seconds']) == len(record['disturbed']) == 1
        for number, seconds in enumerate(record['seconds']):
            parts = sum(part[number] for part in record['parts'].values())
            assert parts == pytest.approx(seconds, rel=0.05)


def test_peak_memory_is_beyond_imports(tmp_path: Path) -> None:
    words = ['--models', TINY, '--out', tmp_path, *['--rounds', '1', '--warmup', '0']]
    assert main('benchmark', *words) == 0
    (record,) = json.loads((tmp_path / 'models.json').read_text())['records']
    assert 1 < record['peak_mib'] < 500


def test_table_compares_precisions_and_the_best_of_each() -> None:
    def record(model: str, precision: str, seconds: float) -> Record:
        parts = {part: [seconds / 4] for part in PARTS['train']}
        disturbed = [5 * seconds]
        return Record(
            model, 'train', precision, (64, 64), 1, 3, [seconds], parts, disturbed=disturbed
        )

    records = [
        record('ours', 'float32', 1.0),
        record('ours', 'bf16', 2.0),
        record('theirs', 'float32', 4.0),
        record('theirs', 'bf16', 3.0),
    ]
    lines = _table(records, 'theirs', disturb=2)
    rows = {tuple(cells[i] for i in (0, 4)): cells for line in lines if (cells := _cells(line))}
    names = rows['model', 'precision']
    ours = dict(zip(names, rows['ours', 'bf16'], strict=True))
    assert ours['times faster'].startswith('1.5 ')
    assert ours['seconds beside 2 busy'].startswith('10 ')
    assert ours['times slower there'].startswith('5 ')
    assert '- ours in float32: 3 (3-3) times as fast' in lines


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--baseline', 'nowhere.py'], 'nowhere.py is not one'),
        (['--plot', 'picture.bmp'], '.png or .svg'),
    ],
)
def test_wrong_options_are_said_first(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main('benchmark', '--models', TINY, *words) == 2
    assert message in capsys.readouterr().err


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('|').split('|')] if line.startswith('|') else []
