"""Curves of training runs, read from the scalars that MMEngine writes."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs4d.errors import UserError


class TrainingLogError(UserError, ValueError):
    """A run's log is missing, or has not what was asked for."""


@dataclass
class TrainingRun:
    """What a run logged.

    Attributes:
        label: Its name in the legend.
        training: For each key the steps (iterations) and the values.
        validation: Likewise; MMEngine logs validations at the step of their epoch.
    """

    label: str
    training: dict[str, tuple[list[float], list[float]]]
    validation: dict[str, tuple[list[float], list[float]]]


def read_run(path: str | Path, label: str | None = None) -> TrainingRun:
    """Read a run.

    Args:
        path: A work dir, whose logs are joined, later ones over earlier ones where a resumed run
            repeats a step; or one ``scalars.json``.
        label: Its name; by default the folder's.

    Raises:
        TrainingLogError: There is no log, or nothing in it.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob('**/vis_data/scalars.json'))
    if not files:
        raise TrainingLogError(
            f"'{path}' is neither a work dir with a vis_data/scalars.json below it nor such a file. "
            'Give the --work-dir of a training; its first lines are written after the first '
            'interval of the log.'
        )
    training: dict[str, dict[float, float]] = defaultdict(dict)
    validation: dict[str, dict[float, float]] = defaultdict(dict)
    place = 0.0
    for entry in (entry for file in files for entry in _entries(file)):
        series = validation if _is_validation(entry) else training
        # A validation's step is its epoch or its iteration; it happens where the training stands.
        place = float(entry['step']) if series is training else place
        for key, value in _figures(entry).items():
            series[key][place] = value
    if not training and not validation:
        raise TrainingLogError(f"The log of '{path}' is empty: nothing has been trained yet.")
    columns = (
        {key: (sorted(points), [points[x] for x in sorted(points)]) for key, points in part.items()}
        for part in (training, validation)
    )
    return TrainingRun(
        label or (path.parent.name if path.is_file() else path.resolve().name), *columns
    )


def last_validation(folder: str | Path) -> tuple[int, dict[str, float]] | None:
    """Find the last validation in a work dir's logs.

    Returns:
        The epoch behind which it was, and its figures; None if there is none.

    Raises:
        TrainingLogError: A line of a log is damaged.
    """
    found = None
    for file in sorted(Path(folder).glob('*/vis_data/scalars.json')):
        for entry in _entries(file):
            if _is_validation(entry):
                found = int(entry['step']), _figures(entry)
    return found


def _is_validation(entry: Mapping[str, Any]) -> bool:
    return 'loss' not in entry and 'lr' not in entry


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in entry.items()
        if key != 'step' and isinstance(value, int | float)
    }


def draw_curves(
    runs: Sequence[TrainingRun], keys: Sequence[str], out: str | Path, smooth: float = 0.0
) -> Path:
    """Draw runs together, a panel for each key, and write a picture.

    Args:
        runs: Of `read_run`.
        keys: What to draw, such as ``'loss'`` or ``'coco/segm_mAP_50'``.
        out: The picture, ``.png`` or ``.svg``.
        smooth: Weight of the past in an exponential moving average over training values, from 0 to
            below 1. Validations are drawn as they are, as points.

    Raises:
        TrainingLogError: A key is in none of the runs, or the ending or ``smooth`` is not one of these.
    """
    out = Path(out)
    if out.suffix not in ('.png', '.svg'):
        raise TrainingLogError(f"The picture '{out}' has to end in .png or .svg.")
    if not 0 <= smooth < 1:
        raise TrainingLogError(f'smooth is {smooth}; it has to be at least 0 and below 1.')
    known = {key for run in runs for key in (*run.training, *run.validation)}
    for key in keys:
        if key not in known:
            raise TrainingLogError(
                f"None of the runs has logged '{key}'. They have: {', '.join(sorted(known))}."
            )

    # Matplotlib takes a second to import, and pyplot would look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(keys), 4), layout='constrained')
    for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        for number, run in enumerate(runs):
            _draw(axes, run, key, f'C{number % 10}', smooth)
        axes.set(title=key, xlabel='iterations')
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small')
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    return out


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Average exponentially, without the bias to the beginning."""
    result, total, mass = [], 0.0, 0.0
    for value in values:
        total, mass = weight * total + (1 - weight) * value, weight * mass + (1 - weight)
        result.append(total / mass)
    return result


def _draw(axes: Any, run: TrainingRun, key: str, color: str, smooth: float) -> None:
    if key in run.training:
        steps, values = run.training[key]
        if smooth:
            axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, smoothed(values, smooth), color=color, label=run.label)
    if key in run.validation:
        label = None if key in run.training else run.label
        axes.plot(*run.validation[key], 'o-', color=color, label=label, markersize=4, linewidth=1)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines that have a step."""
    lines = file.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return  # a run that was killed, or one that is writing now
            raise TrainingLogError(
                f"Line {number} of '{file}' is not JSON ({error}). Remove the line."
            ) from error
        if isinstance(entry, dict) and 'step' in entry:
            yield entry
