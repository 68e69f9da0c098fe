"""What has been found of a study outlives its work dir."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_study import STUDY, WORDS, finish

from rs4d.analysis.studies import StudyError, read_study, run_study, slurm_script, write_results
from rs4d.analysis.studies.plan import Study
from rs4d.analysis.studies.record import collect, left_to_do, read_record
from rs4d.cli import main

Write = Callable[..., str]


@pytest.fixture
def study(write: Write) -> Study:
    return read_study(write(STUDY, 'made up'))


@pytest.fixture
def record(study: Study, tmp_path: Path) -> Path:
    """A record of the first step and of two of the four runs of the second; the work dir is gone."""
    folder = tmp_path / 'gone'
    finish(folder, study.runs[0], agreement__cosine=0.5)
    for run in study.runs[1:3]:
        finish(folder, run, coco__segm_mAP=0.1 + 0.02 * run.seed, train__memory=1234.5)
    file = tmp_path / 'docs' / 'record.json'
    write_results(study, folder, WORDS, record=file)
    shutil.rmtree(folder)
    return file


def numbers(study: Study, folder: Path, record: Path | None) -> list[int]:
    return [run.number for run in left_to_do(study, folder, record)]


def test_what_is_left_to_do(study: Study, record: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'new'
    assert numbers(study, folder, None) == [0, 1, 2, 3, 4]
    # The first step has to be done again, as its checkpoint is gone with the folder.
    assert numbers(study, folder, record) == [0, 3, 4]
    assert '--array=3,4' in slurm_script(study, folder, WORDS, record)
    finish(folder, study.runs[0], agreement__cosine=0.6)
    assert numbers(study, folder, record) == [3, 4]
    for run in study.runs[3:]:
        finish(folder, run, coco__segm_mAP=0.3)
    assert numbers(study, folder, record) == []


def test_nothing_is_done_again_where_all_is_recorded(
    write: Write, record: Path, tmp_path: Path
) -> None:
    study = read_study(write(STUDY.replace(', two: {}', ''), 'made up'))
    assert numbers(study, tmp_path / 'new', record) == []
    run_study(study, tmp_path / 'new', record=record)
    assert not (tmp_path / 'new').exists()


def test_table_and_curves_of_both(study: Study, record: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'new'
    finish(folder, study.runs[0], commit='def', agreement__cosine=0.5)
    for run in study.runs[3:]:
        precision = 0.2 + 0.02 * run.seed
        finish(folder, run, commit='def', coco__segm_mAP=precision, train__memory=1234.5)
    text = write_results(study, folder, WORDS, record=record)
    assert text is not None
    assert 'Not finished' not in text
    assert '| one | 2 | 0.500 (0.500 to 0.500) | 0.110 (0.100 to 0.120) |' in text
    assert '| one | 1 | 0.500 | 0.120 | 1234 | 2 + 3 | 1.5 + 2.5 | a CPU, 2 cores | abc |' in text
    assert '| two | 0 | 0.500 | 0.200 | 1234 | 2 + 3 | 1.5 + 1.5 | a CPU, 2 cores | def |' in text
    assert 'Commit: def, abc.' in text
    kept = {entry['run']: entry for entry in json.loads(record.read_text())}
    assert list(kept) == [run.name for run in study.runs]
    assert kept['second/one_seed0']['validations']['coco/segm_mAP'] == [[50, 100], [0.05, 0.1]]
    # The same again from the record alone, the picture too.
    shutil.rmtree(folder)
    assert write_results(study, folder, WORDS, record=record) == text
    assert (folder / 'curves.png').stat().st_size > 1000
    assert (folder / 'results.json').read_text() == record.read_text()


def test_runs_that_the_study_has_no_more_stay(write: Write, record: Path, tmp_path: Path) -> None:
    whole = record.read_text()
    one = read_study(write(STUDY, 'made up'), seeds=[0])
    assert set(collect(one, tmp_path / 'new', record)) == {0, 1}
    write_results(one, tmp_path / 'new', WORDS, record=record)
    assert record.read_text() == whole


@pytest.mark.parametrize(('old', 'new'), [('epochs: 3', 'epochs: 4'), ('epochs: 2', 'epochs: 1')])
def test_other_settings_are_refused(write: Write, record: Path, old: str, new: str) -> None:
    """Those of a run that was followed as well."""
    with pytest.raises(StudyError, match='with other settings than the study has'):
        read_record(read_study(write(STUDY.replace(old, new), 'made up')), record)


@pytest.mark.parametrize('text', ['', '{}x', '[1]', '{"a": 1}', '[{"run": "a"}]'])
def test_another_file_is_refused_and_left(study: Study, tmp_path: Path, text: str) -> None:
    file = tmp_path / 'other.json'
    file.write_text(text)
    finish(tmp_path / 'w', study.runs[0], agreement__cosine=0.5)
    with pytest.raises(StudyError, match='is no record of a study'):
        write_results(study, tmp_path / 'w', WORDS, record=file)
    assert file.read_text() == text


def test_the_list_says_what_is_recorded(
    write: Write, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [write(STUDY, 'made up'), '--work-dir', str(tmp_path / 'new'), '--record', str(record)]
    assert main('study', *words, '--list') == 0
    states = [line[5:13].strip() for line in capsys.readouterr().out.rstrip().split('\n')]
    assert states == ['recorded', 'recorded', 'recorded', 'to do', 'to do']
