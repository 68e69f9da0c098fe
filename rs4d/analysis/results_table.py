"""The table of results, written from what tests leave in their ``metrics.json``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rs4d.errors import UserError
from rs4d.files import write_text

from .config_matrix import DATA_NAMES, NONE
from .marked_page import Marks

BEGIN = '<!-- results: begin; written by rs4d results --write -->'
END = '<!-- results: end -->'
MARKS = Marks(BEGIN, END)
HEADER = (
    'config',
    'data',
    'epochs',
    'seed',
    'box AP',
    'box AP50',
    'mask AP',
    'mask AP50',
    'training, minutes',
    'trained on',
    'seconds an image',
    'memory, MB',
    'commit',
)
_OWN = ('CocoInsSegDataset', 'ImageFolders')
# A run with all of these replaces the row of an earlier one.
_KEY = 4


class ResultsTableError(UserError, ValueError):
    """A file of metrics, or the page for the table, is not what it should be."""


class Result(NamedTuple):
    """The cells of a run's row; what is not known is a dash."""

    config: str
    data: str
    epochs: str
    seed: str
    box_ap: str
    box_ap50: str
    mask_ap: str
    mask_ap50: str
    minutes: str
    machine: str
    seconds: str
    memory: str
    commit: str


def read_result(path: str | Path) -> Result:
    """Read the row of a test.

    Args:
        path: Its ``metrics.json``, or the work dir that has it.

    Raises:
        ResultsTableError: There is none, or it is none.
    """
    path = Path(path)
    file = path / 'metrics.json' if path.is_dir() else path
    try:
        content = json.loads(file.read_bytes())
        return _row(content)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ResultsTableError(
            f"'{file}' cannot be read as the metrics of a test ({type(error).__name__}: {error}). Name "
            'a work dir of `rs4d test`, or the metrics.json in it.'
        ) from error


def render(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a Markdown table, without a newline at its end."""
    lines = [HEADER, ('---',) * len(HEADER), *rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def write_results(results: Sequence[Result], file: Path) -> int:
    """Put runs into the table of a page; the other rows stay as they are.

    Args:
        results: The runs. One of the same config, data, epochs and seed as an earlier one replaces it.
        file: The Markdown file, with the table between two marks.

    Returns:
        How many rows there are now.

    Raises:
        ResultsTableError: See `read_table`; or two of the runs would have one row.
    """
    try:
        text = file.read_text(encoding='utf-8')
    except OSError as error:
        raise ResultsTableError(
            f"'{file}' cannot be read ({error.strerror}). Name the page that has the table."
        ) from error
    rows = read_table(text, file)
    new = {_key(result): list(result) for result in results}
    if len(new) < len(results):
        raise ResultsTableError(
            'Two of the runs are of the same config, data, epochs and seed, and would have one row: '
            'name one of them.'
        )
    known = {_key(row): row for row in rows} | new
    filled = MARKS.fill(text, render(list(known.values())))
    assert filled is not None, 'read_table refuses such pages'
    write_text(file, filled)
    return len(known)


def _key(row: Sequence[str]) -> tuple[str, ...]:
    """What tells a run from others; all of its row where that is not known."""
    key = tuple(row[:_KEY])
    return tuple(row) if NONE in key else key


def read_table(text: str, file: Path) -> list[list[str]]:
    """The rows of the table in a page.

    Raises:
        ResultsTableError: The two lines that mark it are not there, once and in order, or a row has
            another number of cells.
    """
    parts = MARKS.split(text)
    if parts is None:
        raise ResultsTableError(
            f"'{file}' does not have the two lines that mark the table's place, once and in this "
            f'order: {BEGIN} and {END}. Add them where it should be.'
        )
    lines = [line for line in parts[1].splitlines() if line.startswith('|')]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines][2:]
    for row in rows:
        if len(row) != len(HEADER):
            raise ResultsTableError(
                f"'{file}' has a row of {len(row)} cells in the table of {len(HEADER)}: {row[0]}."
            )
    return rows


def _row(content: Mapping[str, Any]) -> Result:
    run = content.get('run') or {}
    training, test = run.get('training') or {}, run.get('test') or {}
    names = [_name_of(one) for one in run.get('data', [])]
    ap = [content.get(f'coco/{k}_mAP{t}') for k in ('bbox', 'segm') for t in ('', '_50')]
    figures = [_said(value, '.3f') for value in ap]
    memory = [training.get('memory_mb'), test.get('memory_mb')]
    machines = ', then '.join(training.get('machines', []))
    if training.get('processes', 1) > 1:
        machines = f'{training["processes"]} x {machines}'
    cells = [
        Path(content['config']).stem,
        ' + '.join(names) or NONE,
        _said(run.get('epochs')),
        _said(run.get('seed')),
        *figures,
        _said(training.get('minutes'), '.1f'),
        machines or NONE,
        _said(test.get('seconds_an_image'), '.3g'),
        ' / '.join(_said(value) for value in memory),
        training.get('commit') or test.get('commit') or NONE,
    ]
    # Lines of a table are cut at every bar.
    return Result._make(cell.replace('|', '&#124;') for cell in cells)


def _name_of(dataset: Mapping[str, Any]) -> str:
    """Name a data set: users' own, which are all of one type, by folder and annotation file."""
    kind = dataset['type']
    own = [dataset.get('folder'), dataset.get('annotations')] if kind in _OWN else []
    return '/'.join(filter(None, own)) or DATA_NAMES.get(kind, kind)


def _said(value: Any, form: str = '') -> str:
    return NONE if value is None else format(value, form)
