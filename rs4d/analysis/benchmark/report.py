"""Tables and plots of benchmark records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from .timing import Spread

matplotlib.use('Agg')

from matplotlib import pyplot as plt

Record = dict[str, Any]


def markdown_table(records: Sequence[Record]) -> str:
    """Write one row for each encoder, side and mode.

    Args:
        records: As `rs4d benchmark encoders` makes them.

    Returns:
        A Markdown table.
    """
    rows = [
        '| encoder | side | mode | parameters (M) | multiply-adds (G) | GFLOPs | seconds '
        '| images/s | peak MiB | times faster than the baseline |',
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    for record in records:
        cost = record['multiply_adds']
        # Counted for inference; training does about three times the work and is not counted.
        counted = f'{cost / 1e9:.0f} | {2 * cost / 1e9:.0f}' if cost else '- | -'
        rows.append(
            f'| {record["encoder"]} | {record["side"]} | {record["mode"]} '
            f'| {record["parameters"] / 1e6:.1f} | {counted} '
            f'| {with_spread(record["seconds"])} | {1 / record["seconds"].median:.3g} '
            f'| {_or_dash(record["peak_mib"], ".0f")} | {with_spread(record["ratio"])} |'
        )
    return '\n'.join(rows)


def with_spread(value: Spread | None) -> str:
    """Write a median and its quartiles.

    Args:
        value: The three, or None.

    Returns:
        Such as ``1.23 (1.20-1.31)``, or a dash.
    """
    if value is None:
        return '-'
    return f'{value.median:.3g} ({value.low:.3g}-{value.high:.3g})'


def _or_dash(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def plot_scaling(records: Sequence[Record], path: Path) -> None:
    """Plot time and peak memory against pixels, both axes logarithmic.

    Args:
        records: As in `markdown_table`.
        path: PNG or SVG to write.
    """
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), sharex=True, squeeze=False)
    for column, mode in enumerate(('infer', 'train')):
        for row, (quantity, label) in enumerate(
            (('seconds', 'seconds an image'), ('peak_mib', 'peak memory (MiB)'))
        ):
            axis = axes[row][column]
            for name in dict.fromkeys(record['encoder'] for record in records):
                points = [
                    (r['side'] ** 2, r[quantity].median if quantity == 'seconds' else r[quantity])
                    for r in records
                    if r['encoder'] == name and r['mode'] == mode and r[quantity] is not None
                ]
                if points:
                    axis.loglog(*zip(*sorted(points), strict=True), marker='o', label=name)
            axis.set_title({'infer': 'inference', 'train': 'forward + backward'}[mode])
            axis.set_ylabel(label)
            axis.set_xlabel('pixels')
            axis.grid(visible=True, which='both', alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
