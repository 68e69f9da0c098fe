"""A picture of where the time of detectors goes."""

from collections.abc import Sequence
from pathlib import Path

from rs4d.errors import ConfigError

from .detectors import PARTS
from .record import Record
from .timing import spread


def check_picture(out: Path) -> None:
    """Raise if a picture cannot be written in the format that its name asks for."""
    if out.suffix not in ('.png', '.svg'):
        raise ConfigError(f"The picture '{out}' has to end in .png or .svg.")


def draw_models(records: Sequence[Record], out: Path) -> None:
    """Draw a bar for each record, made of the medians of its parts; a panel for each mode."""
    # Matplotlib takes a second to import, and pyplot would look for a display.
    from matplotlib.figure import Figure

    modes = list(dict.fromkeys(record.mode for record in records))
    height = 1.2 + 0.4 * max(sum(record.mode == mode for record in records) for mode in modes)
    figure = Figure(figsize=(8 * len(modes), height), layout='constrained')
    for axes, mode in zip(figure.subplots(1, len(modes), squeeze=False)[0], modes, strict=True):
        own = [record for record in records if record.mode == mode]
        labels = [f'{record.model}, {record.precision}' for record in own]
        left = [0.0] * len(own)
        for part in PARTS[mode]:
            widths = [spread(record.parts[part]).median for record in own]
            axes.barh(labels, widths, left=left, label=part)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        title = 'a prediction' if mode == 'predict' else 'a training step'
        axes.set(title=title, xlabel='seconds')
        axes.legend(fontsize='small')
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
