"""What the runs of a study have found, from their folders and from a file that outlives them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rs4d.files import write_text
from rs4d.visualization import TrainingRun, read_run

from .plan import Run, Study
from .run_folder import RunFolder
from .study_file import StudyError

# What a run has found: its `result.json`, its validations and its fingerprint.
Result = Mapping[str, Any]


def read_record(study: Study, file: Path | None) -> dict[int, Result]:
    """Read what has been found of a study's runs elsewhere or earlier.

    Args:
        study: The study.
        file: A ``results.json`` of the study, or a file that began as one; it need not be there.

    Returns:
        For the numbers of runs what they have found.

    Raises:
        StudyError: The file is not of this study with these settings.
    """
    entries = _entries(file) if file is not None and file.is_file() else {}
    found = {run.number: (run, entries[run.name]) for run in study.runs if run.name in entries}
    for run, entry in found.values():
        if entry['fingerprint'] != run.fingerprint:
            raise StudyError(
                f"The record '{file}' has the run {run.name} with other settings than the study has "
                'now. Name another --record, or take that run and those that followed it out of it.'
            )
    # A row of the table needs all that its run followed.
    return {
        number: entry
        for number, (run, entry) in found.items()
        if all(other.number in found for other in run.chain())
    }


def collect(study: Study, folder: Path, record: Path | None = None) -> dict[int, Result]:
    """Put together what a study's runs have found, those of its work dir above those of a record.

    Args:
        study: The study.
        folder: Its work dir.
        record: See `read_record`.

    Raises:
        StudyError: The record is of other settings.
    """
    recorded = read_record(study, record)
    found = {run.number: _of_folder(study, run, RunFolder(folder / run.name)) for run in study.runs}
    both = {number: result or recorded.get(number) for number, result in found.items()}
    return {number: result for number, result in both.items() if result is not None}


def write_record(study: Study, results: Mapping[int, Result], file: Path) -> None:
    """Write what has been found into a record; lines of runs that are not in the study stay.

    Args:
        study: The study.
        results: Of `collect`.
        file: The record.

    Raises:
        StudyError: What is there is no record.
        FileWriteError: The file cannot be written.
    """
    entries = _entries(file) if file.is_file() else {}
    entries |= {study.runs[number].name: result for number, result in results.items()}
    write_lines(entries.values(), file)


def write_lines(results: Iterable[Result], file: Path) -> None:
    """Write results over what is there, a line for each."""
    lines = ',\n'.join(json.dumps(result) for result in results)
    write_text(file, f'[\n{lines}\n]\n')


def validations(result: Result) -> TrainingRun:
    """Return a result's validations, as `draw_groups` takes them."""
    columns = {key: (places, values) for key, (places, values) in result['validations'].items()}
    return TrainingRun(result['run'], {}, columns)


def left_to_do(study: Study, folder: Path, record: Path | None = None) -> list[Run]:
    """Find the runs whose results are missing, and those that they need again.

    A run that is recorded is done again only where another one needs its checkpoint.

    Args:
        study: The study.
        folder: Its work dir.
        record: See `read_record`.
    """
    recorded = read_record(study, record)
    followed = {parent.number for run in study.runs for parent in run.after.values()}
    left: list[Run] = []
    needed: set[int] = set()
    for run in reversed(study.runs):
        wanted = run.number in needed or not (run.number in followed or run.number in recorded)
        if wanted and RunFolder(folder / run.name).result() is None:
            left.append(run)
            needed |= {parent.number for parent in run.after.values()}
    return left[::-1]


def _of_folder(study: Study, run: Run, folder: RunFolder) -> dict[str, Any] | None:
    result = folder.result()
    if result is None or run.command != 'train':
        return result and result | dict(fingerprint=run.fingerprint)
    validation = read_run(folder.path).validation
    keys = dict.fromkeys(['cpu_minutes', *study.figures, *study.curves])
    curves = {key: validation[key] for key in keys if key in validation}
    return result | dict(fingerprint=run.fingerprint, validations=curves)


def _entries(file: Path) -> dict[str, Result]:
    """A record's lines by the names of their runs."""
    try:
        entries = json.loads(file.read_text(encoding='utf-8'))
        assert all(isinstance(entry['fingerprint'], str) for entry in entries)
        return {entry['run']: entry for entry in entries}
    except OSError as error:
        raise StudyError(f"The record '{file}' cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise StudyError(
            f"'{file}' is no record of a study. Name a results.json that rs4d study has written, or a "
            'new file.'
        ) from error
