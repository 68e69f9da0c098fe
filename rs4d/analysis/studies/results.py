"""A study's table and curves, and their place in a page."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rs4d.analysis.marked_page import Marks
from rs4d.files import write_text, written_whole
from rs4d.visualization import draw_groups

from .plan import Run, Study, file_name
from .record import Result, collect, validations, write_lines, write_record
from .study_file import StudyError

NONE = '\N{EN DASH}'
# Runs that differ in nothing but their seeds: of a row, each with what it found.
Rows = Mapping[str, Sequence[tuple[Run, Result]]]


def write_results(
    study: Study,
    folder: Path,
    words: Sequence[str],
    page: Path | None = None,
    record: Path | None = None,
) -> str | None:
    """Write ``results.md``, ``results.json`` and ``curves.png`` of what is done into the work dir.

    Args:
        study: The study.
        folder: Its work dir.
        words: The command line that does it.
        page: A Markdown page in which the same is put between two marks, at its end if it has none,
            with the picture in ``images/`` beside it.
        record: A file that holds what was done elsewhere or earlier, and gets what is done here.

    Returns:
        The text; None if no training that ends a row is done.

    Raises:
        StudyError: The page has one of the marks only, or the record is of other settings.
        FileWriteError: A file cannot be written.
    """
    results = collect(study, folder, record)
    if record is not None and results:
        write_record(study, results, record)
    rows: dict[str, list[tuple[Run, Result]]] = {}
    for run in study.ends():
        if run.number in results:
            rows.setdefault(_label(study, run), []).append((run, results[run.number]))
    if not rows:
        return None
    write_lines(results.values(), folder / 'results.json')
    picture = _draw(study, folder, rows, results)
    missing = sum(run.number not in results for run in study.ends())
    parts = [_introduction(study, words, missing), _means(study, rows, results)]
    parts += [_runs(study, rows, results), _conditions(results)]
    found = {key for result in results.values() for key in result.get('metrics', {})}
    absent = [key for key in dict.fromkeys([*study.figures, *study.curves]) if key not in found]
    if absent:
        parts.append(
            f'No run has found {", ".join(absent)}; the runs have {", ".join(sorted(found))}.'
        )
    text = '\n\n'.join(parts)
    write_text(folder / 'results.md', f'{text}\n{_link(study, picture.name if picture else None)}')
    if page is not None:
        name: str | None = None
        if picture is not None:
            target = page.parent / 'images' / f'study-{file_name(study.name)}.png'
            with written_whole(target) as part:
                part.write_bytes(picture.read_bytes())
            name = f'images/{target.name}'
        _insert(page, study, f'{text}\n{_link(study, name)}')
    return text


def _link(study: Study, picture: str | None) -> str:
    return f'\n![{study.title}: validations over CPU minutes]({picture})\n' if picture else ''


def _label(study: Study, run: Run) -> str:
    steps = {end.step for end in study.ends()}
    words = [*([run.step] if len(steps) > 1 else []), *run.labels.values()]
    return ', '.join(words) or run.step


def _introduction(study: Study, words: Sequence[str], missing: int) -> str:
    # The comment is for the tests of a page's commands.
    command = f'<!-- not run: a study is many trainings -->\n```bash\n{shlex.join(words)}\n```'
    text = f'### {study.title}\n\n{command}\n'
    if study.about:
        text += f'\n{study.about}\n'
    if study.scale != 1:
        text += f'\nAt {study.scale:g} of its size.\n'
    if missing:
        text += (
            f'\nNot finished: {missing} of {len(study.ends())} runs are missing from the table.\n'
        )
    return text.rstrip()


def _means(study: Study, rows: Rows, results: Mapping[int, Result]) -> str:
    """A line for each row: the mean of its seeds, and from where to where they go."""
    lines = [_line(['', 'seeds', *study.figures.values(), 'CPU minutes'])]
    lines.append('|---' * (3 + len(study.figures)) + '|')
    for label, runs in rows.items():
        figures = [_spread(_values(runs, results, key)) for key in study.figures]
        minutes = [_minutes(run, results) for run, _ in runs]
        steps = [f'{statistics.mean(column):.1f}' for column in zip(*minutes, strict=True)]
        lines.append(_line([label, str(len(runs)), *figures, ' + '.join(steps)]))
    return '\n'.join(lines)


def _runs(study: Study, rows: Rows, results: Mapping[int, Result]) -> str:
    """A line for each run; where it was done, unless all were done in one place by one commit."""
    origins = {(result['machine'], result['commit']) for result in _trained(results)}
    places = ['machine', 'commit'] if len(origins) > 1 else []
    heads = ['run', 'seed', *study.figures.values(), 'epochs', 'CPU minutes', *places]
    lines = [_line(heads), '|---' * len(heads) + '|']
    for label, runs in rows.items():
        for run, result in runs:
            found = [_figure(run, results, key) for key in study.figures]
            figures = [NONE if value is None else _number(value) for value in found]
            chain = [results[other.number] for other in _trainings(run)]
            epochs = ' + '.join(str(other['epochs']) for other in chain)
            minutes = ' + '.join(f'{value:.1f}' for value in _minutes(run, results))
            origin = [result[place] for place in places]
            lines.append(_line([label, str(result['seed']), *figures, epochs, minutes, *origin]))
    return '\n'.join(lines)


def _conditions(results: Mapping[int, Result]) -> str:
    """Where and when all of it was done, and by which code."""
    trained = _trained(results)
    machines = dict.fromkeys(result['machine'] for result in trained)
    commits = dict.fromkeys(result['commit'] for result in trained)
    days = sorted({result['finished'][:10] for result in trained})
    when = days[0] if len(days) == 1 else f'{days[0]} to {days[-1]}'
    return (
        f'CPU minutes are those of training steps, one thread a run, validations left out. '
        f'Machine: {"; ".join(machines)}. Commit: {", ".join(commits)}. {when}.'
    )


def _trained(results: Mapping[int, Result]) -> list[Result]:
    return [result for result in results.values() if 'metrics' in result]


def _trainings(run: Run) -> list[Run]:
    """A run and the trainings that it follows, in order."""
    return [other for other in reversed(list(run.chain())) if other.command == 'train']


def _minutes(run: Run, results: Mapping[int, Result]) -> list[float]:
    return [results[other.number]['cpu_minutes'] for other in _trainings(run)]


def _figure(run: Run, results: Mapping[int, Result], key: str) -> float | None:
    """A figure of the run, or of the nearest one that it follows."""
    found = (results[other.number].get('metrics', {}).get(key) for other in run.chain())
    return next((value for value in found if value is not None), None)


def _values(
    runs: Sequence[tuple[Run, Result]], results: Mapping[int, Result], key: str
) -> list[float]:
    found = (_figure(run, results, key) for run, _ in runs)
    return [value for value in found if value is not None]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return NONE
    mean = _number(statistics.mean(values))
    if len(values) == 1:
        return mean
    return f'{mean} ({_number(min(values))} to {_number(max(values))})'


def _number(value: float) -> str:
    return f'{value:.3f}' if abs(value) < 10 else f'{value:.0f}'


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _draw(study: Study, folder: Path, rows: Rows, results: Mapping[int, Result]) -> Path | None:
    if not study.curves:
        return None
    groups = {
        label: [validations(results[other.number]) for run, _ in runs for other in _trainings(run)]
        for label, runs in rows.items()
    }
    known = {key for runs in groups.values() for run in runs for key in run.validation}
    keys = {key: study.figures.get(key, key) for key in study.curves if key in known}
    if not keys:
        return None
    out = folder / 'curves.png'
    return draw_groups(groups, keys, out, 'cpu_minutes', 'CPU minutes of training')


def _insert(page: Path, study: Study, text: str) -> None:
    marks = Marks(
        f'<!-- study {study.name}: begin; written by rs4d study --page -->',
        f'<!-- study {study.name}: end -->',
    )
    try:
        content = page.read_text(encoding='utf-8')
    except OSError as error:
        raise StudyError(f"The page '{page}' cannot be read: {error.strerror}.") from error
    if marks.begin not in content and marks.end not in content:
        content = f'{content.rstrip()}\n\n{marks.begin}\n{marks.end}\n'
    filled = marks.fill(content, text.rstrip())
    if filled is None:
        raise StudyError(
            f"'{page}' has one of the two lines that mark the study's place, or has them twice or in "
            f'the wrong order: {marks.begin} and {marks.end}. Let each stand once, where the text '
            'should begin and end.'
        )
    write_text(page, filled)
