"""Table, page and array jobs of a study whose runs are made up."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_study import STUDY, WORDS, finish

from rs4d.analysis.studies import StudyError, read_study, slurm_script, write_results
from rs4d.analysis.studies.plan import Study


@pytest.fixture
def study(write: Callable[..., str]) -> Study:
    return read_study(write(STUDY, 'made up'))


@pytest.fixture
def done(study: Study, tmp_path: Path) -> Path:
    folder = tmp_path / 'w'
    first, *rest = study.runs
    finish(folder, first, agreement__cosine=0.5)
    for run in rest:
        precision = 0.1 if run.labels['how'] == 'one' else 0.2
        finish(folder, run, coco__segm_mAP=precision + 0.02 * run.seed, train__memory=1234.5)
    return folder


def test_the_table(study: Study, done: Path) -> None:
    text = write_results(study, done, WORDS)
    assert text is not None
    lines = [line for line in text.split('\n') if line.startswith('|')]
    memory, cosine = '1234 (1234 to 1234)', '0.500 (0.500 to 0.500)'
    assert lines == [
        '|  | seeds | cosine | mask AP | MB | CPU minutes |',
        '|---|---|---|---|---|---|',
        f'| one | 2 | {cosine} | 0.110 (0.100 to 0.120) | {memory} | 1.5 + 2.0 |',
        f'| two | 2 | {cosine} | 0.210 (0.200 to 0.220) | {memory} | 1.5 + 2.0 |',
        '| run | seed | cosine | mask AP | MB | epochs | CPU minutes |',
        '|---|---|---|---|---|---|---|',
        '| one | 0 | 0.500 | 0.100 | 1234 | 2 + 3 | 1.5 + 1.5 |',
        '| one | 1 | 0.500 | 0.120 | 1234 | 2 + 3 | 1.5 + 2.5 |',
        '| two | 0 | 0.500 | 0.200 | 1234 | 2 + 3 | 1.5 + 1.5 |',
        '| two | 1 | 0.500 | 0.220 | 1234 | 2 + 3 | 1.5 + 2.5 |',
    ]
    assert 'Machine: a CPU, 2 cores. Commit: abc. 2026-01-02.' in text
    assert "rs4d study 'made up.yaml'" in text
    assert 'A text.' in text
    assert '(curves.png)' in (done / 'results.md').read_text()
    assert (done / 'curves.png').stat().st_size > 1000


def test_a_study_that_is_under_way(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / 'w'
    assert write_results(study, folder, WORDS) is None
    finish(folder, study.runs[0], agreement__cosine=0.5)
    assert write_results(study, folder, WORDS) is None
    finish(folder, study.runs[1], coco__segm_mAP=0.3)
    text = write_results(study, folder, WORDS)
    assert text is not None
    assert 'Not finished: 3 of 4 runs are missing' in text
    assert 'No run has found train/memory; the runs have agreement/cosine, coco/segm_mAP.' in text
    assert '| one | 1 | 0.500 | 0.300 | \N{EN DASH} | 1.5 + 1.5 |' in text


def test_results_of_an_earlier_form_are_written_anew(study: Study, done: Path) -> None:
    (done / 'results.json').write_text('[{"run": "none"}]')
    write_results(study, done, WORDS)
    found = json.loads((done / 'results.json').read_text())
    assert [result['run'] for result in found] == [run.name for run in study.runs]


def test_a_page_between_its_marks(study: Study, done: Path, tmp_path: Path) -> None:
    page = tmp_path / 'docs' / 'results.md'
    page.parent.mkdir()
    page.write_text('# Results\n\nText.\n')
    write_results(study, done, WORDS, page)
    first = page.read_text()
    assert first.startswith('# Results\n\nText.\n\n<!-- study made up: begin')
    assert '![Made up: validations over CPU minutes](images/study-made-up.png)' in first
    assert (page.parent / 'images' / 'study-made-up.png').is_file()
    page.write_text(first + '\nMore.\n')
    write_results(study, done, WORDS, page)
    assert page.read_text() == first + '\nMore.\n'
    page.write_text(first.replace('<!-- study made up: end -->', ''))
    with pytest.raises(StudyError, match='has one of the two lines'):
        write_results(study, done, WORDS, page)
    twice = f'{first}\nKept.\n\n{first}'
    page.write_text(twice)
    with pytest.raises(StudyError, match='has them twice'):
        write_results(study, done, WORDS, page)
    assert page.read_text() == twice
    with pytest.raises(StudyError, match='cannot be read'):
        write_results(study, done, WORDS, page.with_name('none.md'))


def test_array_jobs(study: Study, tmp_path: Path) -> None:
    """Bash and a program in sbatch's place run the script."""
    folder = tmp_path / 'w'
    finish(folder, study.runs[1], coco__segm_mAP=0.3)
    script = slurm_script(study, folder, WORDS)
    fake = tmp_path / 'bin' / 'sbatch'
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\nprintf "%s\\n" "$@" "" >> calls\nwc -l < calls\n')
    fake.chmod(0o755)
    environment = dict(
        os.environ, PATH=f'{fake.parent}:{os.environ["PATH"]}', SBATCH_ARGS='-p short'
    )
    done = subprocess.run(
        ['bash'],
        input=script,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert folder.is_dir()
    calls = [call.split('\n') for call in (tmp_path / 'calls').read_text().strip().split('\n\n')]
    first, second, table = calls
    for call in calls:
        assert call[:5] == ['--parsable', '--ntasks=1', '--cpus-per-task=1', '-p', 'short']
    assert '--array=0' in first
    assert '--array=2,3,4' in second
    number = done.stdout.split('\n')[0].split()[-1]
    assert f'--dependency=afterok:{number}' in second
    task = "--wrap=rs4d study 'made up.yaml'"
    assert second[-1] == f'{task} --only "$SLURM_ARRAY_TASK_ID"'
    assert table[-1] == task
