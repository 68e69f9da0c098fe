"""The page: everything in one file, which opens from disk and asks nobody for anything."""

import difflib
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from altair.utils.schemapi import debug_mode
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import rs4d
from rs4d.evaluation import ERRORS, Kind
from rs4d.files import write_text

from . import charts
from .figures import SCORES, Change, RunFigures, changes, compute
from .pictures import draw_pictures
from .runs import Run

_NONE = '–'  # noqa: RUF001
_MINUS = '−'  # noqa: RUF001
# Two figures of the same test that differ by more are of other predictions; tests write three digits.
_ROUNDING = 0.0011


class Chart(NamedTuple):
    """A chart's place in the page."""

    name: str
    title: str


class Comparison(NamedTuple):
    """What changed from the first run to another."""

    other: RunFigures
    changes: dict[Kind, dict[str, Change]]
    chart: Chart
    config: list[str]


def write_report(
    runs: Sequence[Run],
    out: str | Path,
    *,
    pictures: int = 8,
    images: Path | None = None,
    resamples: int = 1000,
) -> list[RunFigures]:
    """Write a report of one or more runs.

    Args:
        runs: Of `read_runs`; later ones are compared with the first.
        out: The page, ``.html``.
        pictures: How many images are shown for each reason to look at one.
        images: Where the images are, if they are no longer where they were when they were scored.
        resamples: How often images are drawn anew for the intervals.

    Returns:
        The figures, as they stand in the page.

    Raises:
        UserError: An image does not decode, or the page cannot be written.
    """
    with ThreadPoolExecutor(1) as pool:
        vega = pool.submit(charts.vega)
        figures = compute(runs, resamples)
        with debug_mode(False):  # the tests look whether charts are as they should be
            page = _Page(figures)
        shown = draw_pictures(figures, pictures, images)
    environment = Environment(
        loader=PackageLoader('rs4d.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(points=_points, signed=_signed, number=_number, percent=_percent)
    text = environment.get_template('report.html').render(
        title=' and '.join(run.name for run in runs),
        runs=figures,
        first=figures[0],
        kinds=list(figures[0].kinds),
        nouns=charts.NOUNS,
        scores=list(SCORES),
        overlaps=charts.overlap_names(),
        errors=ERRORS,
        charts=page.charts,
        comparisons=page.comparisons,
        pictures=shown,
        pictures_missing=[picture.name for picture in shown if not picture.source],
        facts=_facts(runs),
        doubts=list(_doubts(figures)),
        resamples=resamples,
        version=rs4d.__version__,
        date=time.strftime('%Y-%m-%d %H:%M'),
        specifications=_data(page.specifications),
        vega=_script(vega.result()),
    )
    write_text(out, text)
    return figures


class _Page:
    """Charts by the section that they are in, with their specifications."""

    def __init__(self, figures: Sequence[RunFigures]) -> None:
        self.specifications: dict[str, Any] = {}
        self.charts: dict[str, list[Chart]] = defaultdict(list)
        self.comparisons: list[Comparison] = []
        kinds = list(figures[0].kinds)
        for kind in kinds:
            self._add('scores', charts.overlap_chart(figures, kind))
            self._add('curves', charts.precision_recall_chart(figures, kind))
            self._add('thresholds', charts.threshold_chart(figures, kind))
            self._add('errors', charts.error_chart(figures, kind))
            if len(figures[0].main.matches.classes) > 1:
                self._add('classes', charts.class_chart(figures, kind))
        trainings = [one.run.training for one in figures if one.run.training is not None]
        for curve in charts.training_charts(trainings):
            self._add('training', curve)
        for other in figures[1:]:
            found = {kind: changes(figures[0].kinds[kind], other.kinds[kind]) for kind in kinds}
            names = figures[0].run.name, other.run.name
            place = self._add('changes', charts.change_chart(*names, found))
            config = list(_config_changes(figures[0].run, other.run))
            self.comparisons.append(Comparison(other, found, place, config))

    def _add(self, section: str, chart: Any) -> Chart:
        name = f'chart-{len(self.specifications)}'
        self.specifications[name] = specification = chart.to_dict(validate=False)
        # The page's own colours are given by its script.
        specification.pop('config', None)
        place = Chart(name, specification['description'])
        self.charts[section].append(place)
        return place


def _facts(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Return rows of what tests said of themselves besides their scores: a name, a text for each run."""
    said = [dict(_flat(run.test.metrics)) for run in runs]
    names = dict.fromkeys(name for facts in said for name in facts)
    rows = [('folder', [str(run.test.folder) for run in runs])]
    truth = runs[0].test.truth
    rows.append(('images', [str(len(truth.imgs))] * len(runs)))
    rows.append(
        ('instances', [str(sum(not a['iscrowd'] for a in truth.anns.values()))] * len(runs))
    )
    rows.append(('predictions', [str(len(run.test.predictions)) for run in runs]))
    rows += [(name, [facts.get(name, _NONE) for facts in said]) for name in names]
    return rows


def _flat(content: Mapping[str, Any], before: str = '') -> Iterator[tuple[str, str]]:
    """Yield what is in a run's metrics.json besides scores, whose names have a slash."""
    for key, value in content.items():
        if '/' in key or value is None:
            continue
        name = f'{before}{key}'.replace('_', ' ')
        if isinstance(value, Mapping):
            # All that is said besides scores is of the run.
            yield from _flat(value, '' if key == 'run' else f'{name}: ')
        elif isinstance(value, list):
            texts = _flat({str(number): one for number, one in enumerate(value)})
            yield name, ', '.join(text for _, text in texts)
        elif isinstance(value, float):
            yield name, f'{value:.4g}'
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, f'{value:,}' if abs(value) >= 10000 else str(value)
        else:
            yield name, str(value)


def _doubts(figures: Sequence[RunFigures]) -> Iterator[str]:
    """Yield what a reader should know before he believes the figures."""
    for one in figures:
        for kind, found in one.kinds.items():
            said = one.run.test.metrics.get(f'coco/{kind}_mAP')
            value = found.scores['AP'].value
            if isinstance(said, int | float) and abs(said - value) > _ROUNDING:
                yield (
                    f'{one.run.name}: the {charts.NOUNS[kind]} AP here is {value:.3f}, but the test '
                    f'wrote {said:.3f} into its metrics.json. The files are of two tests, or the '
                    'metric had settings other than those of COCO.'
                )


def _config_changes(first: Run, other: Run) -> Iterator[str]:
    """Yield the lines in which two configs differ, with some around."""
    if first.config is None or other.config is None:
        return
    lines = difflib.unified_diff(
        first.config.splitlines(), other.config.splitlines(), first.name, other.name, '', '', 2, ''
    )
    yield from lines


def _data(content: Any) -> Markup:
    """Write data for a script; no text in it can be taken for HTML."""
    return Markup(json.dumps(content, separators=(',', ':')).replace('<', '\\u003c'))


def _script(text: str) -> Markup:
    """Keep what a script says of scripts from ending its element."""
    return Markup(re.sub('<(?=/script|!--)', r'\\x3c', text, flags=re.IGNORECASE))


def _number(value: float, digits: int = 3) -> str:
    return _NONE if value != value else f'{value:.{digits}f}'


def _points(value: float) -> str:
    """A figure from 0 to 1 as points of 100."""
    return _NONE if value != value else f'{100 * value:.1f}'


def _signed(value: float) -> str:
    return _NONE if value != value else f'{100 * value:+.1f}'.replace('-', _MINUS)


def _percent(value: float) -> str:
    return f'{100 * value:.0f} %'
