"""Curves of groups of runs that differ in their seeds: the mean, and from where to where they go."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .training_curves import TrainingLogError, TrainingRun


def draw_groups(
    groups: Mapping[str, Sequence[TrainingRun]],
    keys: Mapping[str, str],
    out: str | Path,
    along: str | None = None,
    along_label: str = 'iterations',
) -> Path:
    """Draw figures of validations, a panel for each and a colour for each group, and write a picture.

    The line is the mean of a group's runs and the band from the least to the most of them, at the
    validations that all of them have had.

    Args:
        groups: Runs of `read_run`, by the name of the group.
        keys: What to draw, such as ``'coco/segm_mAP_50'``, and how it is headed.
        out: The picture, ``.png`` or ``.svg``.
        along: A figure of the validations themselves for the horizontal axis, such as
            ``'cpu_minutes'``; by default the iterations.
        along_label: How that axis is named.

    Raises:
        TrainingLogError: A key is in none of the runs.
    """
    # Matplotlib takes a second to import, and pyplot would look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(keys), 4), layout='constrained')
    for axes, (key, title) in zip(
        figure.subplots(1, len(keys), squeeze=False)[0], keys.items(), strict=True
    ):
        drawn = False
        for number, (label, runs) in enumerate(groups.items()):
            lines = [line for run in runs if (line := _line(run, key, along))[0]]
            if not lines:
                continue
            drawn = True
            common = min(len(places) for places, _ in lines)
            places = np.mean([places[:common] for places, _ in lines], axis=0)
            heights = np.array([values[:common] for _, values in lines])
            color = f'C{number % 10}'
            axes.plot(places, heights.mean(0), 'o-', color=color, label=label, markersize=3)
            if len(lines) > 1:
                axes.fill_between(
                    places, heights.min(0), heights.max(0), color=color, alpha=0.2, linewidth=0
                )
        if not drawn:
            raise TrainingLogError(f"None of the runs has had a validation with '{key}'.")
        axes.set(title=title, xlabel=along_label)
        axes.grid(alpha=0.3)
        if any(axes.get_legend_handles_labels()):
            axes.legend(fontsize='small')
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    return out


def _line(run: TrainingRun, key: str, along: str | None) -> tuple[list[float], list[float]]:
    """Where the validations of a figure are on the horizontal axis, and their values."""
    places, values = run.validation.get(key, ([], []))
    if along is not None and values:
        where = dict(zip(*run.validation.get(along, ([], [])), strict=True))
        known = [(where[x], y) for x, y in zip(places, values, strict=True) if x in where]
        places, values = [x for x, _ in known], [y for _, y in known]
    return places, values
