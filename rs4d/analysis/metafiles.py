"""``metafile.yml`` of each folder of configs, as MMDetection's model zoo has them.

They say what the matrix in docs/configs.md and the table in docs/results.md say, and nothing that was
not counted or measured.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rs4d.config.packages import FOLDERS
from rs4d.errors import ConfigError
from rs4d.files import write_text

from . import config_matrix, results_table
from .config_matrix import NONE

NAME = 'metafile.yml'
# Name and what is said of each folder's collection.
_COLLECTIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    'rs4d': ('RS4D', dict(Paper='https://arxiv.org/abs/2606.25324', README='README.md')),
    'baselines': ('RS4D baselines', dict(README='docs/configs.md')),
    'backbones': ('RS4D backbones', dict(README='docs/configs.md')),
    'distill': (
        'RS4D stage 1',
        dict(Paper='https://arxiv.org/abs/2606.25324', README='rs4d/distillation/README.md'),
    ),
    'demo': ('RS4D demo', dict(README='docs/results.md')),
}


def make_metafiles(matrix: Path, results: Path) -> dict[str, str]:
    """Write the text of the metafile of every folder.

    Args:
        matrix: The page with the matrix of configs.
        results: The page with the table of results.

    Returns:
        From the folder in ``configs`` to the text.

    Raises:
        ConfigError: A page is missing or does not have its table.
    """
    for page in (matrix, results):
        if not page.is_file():
            raise ConfigError(f"'{page}' does not exist. Run it in a checkout.")
    measured = results_table.read_table(results.read_text(encoding='utf-8'), results)
    rows = _matrix_rows(matrix)
    texts = {}
    for folder in FOLDERS:
        name, said = _COLLECTIONS[folder]
        collection = dict(Name=name) | said
        models = [
            _model(row, path, name, measured) for path, row in rows if path.parts[1] == folder
        ]
        content = dict(Collections=[collection], Models=models)
        comment = (
            '# Written by rs4d configs --metafiles from docs/configs.md and docs/results.md.\n'
        )
        texts[folder] = comment + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return texts


def write_metafiles(root: Path) -> list[Path]:
    """Write the metafiles of a checkout's ``configs``; returns their paths.

    Raises:
        ConfigError: See `make_metafiles`.
    """
    texts = make_metafiles(root / 'docs/configs.md', root / 'docs/results.md')
    files = []
    for folder, text in texts.items():
        files.append(root / 'configs' / folder / NAME)
        write_text(files[-1], text)
    return files


def _matrix_rows(page: Path) -> list[tuple[Path, config_matrix.ConfigRow]]:
    parts = config_matrix.MARKS.split(page.read_text(encoding='utf-8'))
    if parts is None:
        raise ConfigError(f"'{page}' has no matrix. Write it by rs4d configs --write.")
    found = []
    for line in [line for line in parts[1].splitlines() if line.startswith('| [')]:
        row = config_matrix.ConfigRow(*(cell.strip() for cell in line.strip('|').split('|')))
        link = re.search(r'\(\.\./(.+)\)', row.config)
        assert link is not None
        found.append((Path(link[1]), row))
    return found


def _model(
    row: config_matrix.ConfigRow, path: Path, collection: str, measured: Sequence[Sequence[str]]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        'Method': row.method,
        'Architecture': [row.backbone, row.head],
        'Training Data': row.data,
        'Input': row.size,
        'Parameters (M)': _pair(row.parameters),
        'Multiply-adds (G)': _pair(row.multiply_adds),
    }
    model = {
        'Name': path.stem,
        'In Collection': collection,
        'Config': path.as_posix(),
        'Metadata': metadata,
    }
    results = [
        entry
        for cells in measured
        if cells[0] == path.stem
        for entry in _results(results_table.Result(*cells))
    ]
    return model | (dict(Results=results) if results else {})


def _results(run: results_table.Result) -> list[dict[str, Any]]:
    how = {
        'Epochs': run.epochs,
        'Seed': run.seed,
        'Training Time (minutes)': run.minutes,
        'Training Resources': run.machine,
        'Inference Time (s/image)': run.seconds,
    }
    known = {key: _number(value) for key, value in how.items() if value != NONE}
    tasks = (
        ('Object Detection', {'box AP': run.box_ap, 'box AP50': run.box_ap50}),
        ('Instance Segmentation', {'mask AP': run.mask_ap, 'mask AP50': run.mask_ap50}),
    )
    return [
        dict(Task=task, Dataset=run.data, Metrics=_percent(figures)) | known
        for task, figures in tasks
        if NONE not in figures.values()
    ]


def _percent(figures: Mapping[str, str]) -> dict[str, float]:
    return {name: round(100 * float(value), 1) for name, value in figures.items()}


def _pair(cell: str) -> dict[str, float]:
    values = zip(('encoder', 'model'), cell.split(' / '), strict=True)
    return {name: float(value) for name, value in values if value != NONE}


def _number(text: str) -> int | float | str:
    if text.isdigit():
        return int(text)
    return float(text) if re.fullmatch(r'\d+\.\d+', text) else text
