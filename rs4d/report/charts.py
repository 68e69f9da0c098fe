"""The charts of a report, as Vega-Lite."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt
import numpy as np

from rs4d.evaluation import ERRORS, RECALLS, Kind
from rs4d.visualization import TrainingRun

from .figures import Change, RunFigures, overlap_names

NOUNS: dict[Kind, str] = {'bbox': 'box', 'segm': 'mask'}
# Curves of that many classes can be chosen in a chart; of more they would weigh too much.
CLASSES_IN_CURVES = 20
# As wide as the page has room; heights are set.
_AUTOSIZE = alt.AutoSizeParams(type='fit-x', contains='padding')
# Points of a curve that a training is thinned to.
POINTS = 300


def vega() -> str:
    """Return the JavaScript that draws charts, as ``vegaEmbed``; nothing is downloaded.

    It is bundled in a process of its own, for two seconds: vl-convert would keep other threads waiting.
    """
    version = '.'.join(alt.SCHEMA_VERSION.split('.')[:2])
    code = (
        'import sys, vl_convert\n'
        f'sys.stdout.buffer.write(vl_convert.javascript_bundle(vl_version={version!r}).encode())'
    )
    done = subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def overlap_chart(runs: Sequence[RunFigures], kind: Kind) -> alt.Chart:
    """Average precision at each overlap from which a detection counts as right."""
    rows = [
        dict(run=one.run.name, overlap=float(name), AP=_digits(value))
        for one in runs
        for name, value in zip(overlap_names(), one.kinds[kind].by_overlap(), strict=True)
    ]
    return (
        _chart(rows, f'{NOUNS[kind]} AP at each overlap')
        .mark_line(point=True)
        .encode(
            x=alt.X('overlap:Q', title='overlap (IoU)', scale=alt.Scale(domain=[0.5, 0.95])),
            y=_unit('AP'),
            color=_run_colour(runs),
            tooltip=['run:N', 'overlap:Q', 'AP:Q'],
        )
    )


def precision_recall_chart(runs: Sequence[RunFigures], kind: Kind) -> alt.Chart:
    """Precision at each recall, at overlaps of 0.5 and 0.75, of all classes or of one."""
    classes = runs[0].kinds[kind].matches.classes
    chosen = [(name, [label]) for label, name in enumerate(classes)]
    several = len(classes) > 1
    choices = [('all classes', list(range(len(classes))))] if several else []
    choices += chosen if len(classes) <= CLASSES_IN_CURVES else []
    rows = [
        {
            'run': one.run.name,
            'overlap': overlap,
            'class': name,
            'recall': _digits(recall),
            'precision': _digits(value),
        }
        for one in runs
        for name, labels in choices
        for overlap, place in (('0.50', 0), ('0.75', 5))
        for recall, value in zip(RECALLS, _mean(one.kinds[kind].curves[labels, place]), strict=True)
    ]
    chart = _chart(rows, f'{NOUNS[kind]}: precision at each recall').mark_line()
    chart = chart.encode(
        x=_unit('recall', channel=alt.X),
        y=_unit('precision'),
        color=_run_colour(runs),
        strokeDash=alt.StrokeDash('overlap:N', legend=_below('overlap')),
        order='recall:Q',
        tooltip=['run:N', 'overlap:N', 'recall:Q', 'precision:Q'],
    )
    if len(choices) == 1:
        return chart
    names = [name for name, _ in choices]
    picked = alt.param(
        name=f'class_{kind}', value=names[0], bind=alt.binding_select(options=names, name='class ')
    )
    return chart.add_params(picked).transform_filter(f'datum.class === class_{kind}')


def threshold_chart(runs: Sequence[RunFigures], kind: Kind) -> alt.LayerChart:
    """Precision, recall and F1 over the score threshold, with the best threshold of each run."""
    rows, best = [], []
    for one in runs:
        figures = one.kinds[kind]
        best.append(
            dict(run=one.run.name, threshold=figures.best.threshold, F1=_digits(figures.best.f1))
        )
        for threshold in np.linspace(0, 1, 101).round(2).tolist():
            point = figures.thresholds.at(threshold)
            row = dict(run=one.run.name, threshold=threshold)
            kept = point.right + point.wrong
            rows += [
                row | dict(figure='F1', value=_digits(point.f1)),
                row | dict(figure='precision', value=_digits(point.precision) if kept else None),
                row | dict(figure='recall', value=_digits(point.recall)),
            ]
    lines = alt.Chart(alt.Data(values=rows)).mark_line()
    lines = lines.encode(
        x=_unit('threshold', 'score threshold', channel=alt.X),
        y=_unit('value', 'value at overlap 0.5'),
        color=_run_colour(runs),
        strokeDash=alt.StrokeDash('figure:N', sort=['F1', 'precision', 'recall'], legend=_below()),
        order='threshold:Q',
        tooltip=['run:N', 'figure:N', 'threshold:Q', 'value:Q'],
    )
    marks = alt.Chart(alt.Data(values=best)).mark_point(filled=True, size=90)
    marks = marks.encode(
        x='threshold:Q', y='F1:Q', color=_run_colour(runs), tooltip=['run:N', 'threshold:Q', 'F1:Q']
    )
    return _layers(f'{NOUNS[kind]}: score threshold against F1', 260, lines, marks)


def error_chart(runs: Sequence[RunFigures], kind: Kind) -> alt.Chart:
    """What each kind of error costs."""
    rows = [
        dict(run=one.run.name, error=name, cost=_digits(100 * error.cost), count=error.count)
        for one in runs
        for name, error in one.kinds[kind].errors.items()
    ]
    return _bars(
        rows,
        f'{NOUNS[kind]}: cost of each kind of error',
        runs,
        'error',
        list(ERRORS),
        'cost',
        'AP50 gained if mended (points)',
        ['run:N', 'error:N', 'cost:Q', 'count:Q'],
    )


def class_chart(runs: Sequence[RunFigures], kind: Kind) -> alt.Chart:
    """Average precision of each class."""
    classes = runs[0].kinds[kind].matches.classes
    rows = [
        {'run': one.run.name, 'class': name, 'AP': _digits(value)}
        for one in runs
        for name, value in zip(classes, one.kinds[kind].by_area['all'].mean(axis=1), strict=True)
    ]
    return _bars(
        rows,
        f'{NOUNS[kind]} AP of each class',
        runs,
        'class',
        list(classes),
        'AP',
        'AP',
        ['run:N', 'class:N', 'AP:Q'],
    )


def change_chart(first: str, other: str, found: dict[Kind, dict[str, Change]]) -> alt.LayerChart:
    """How much each figure has changed, with its interval."""
    rows = [
        dict(
            figure=f'{NOUNS[kind]} {name}',
            difference=_digits(100 * change.difference.value),
            low=_digits(100 * change.difference.low),
            high=_digits(100 * change.difference.high),
        )
        for kind, table in found.items()
        for name, change in table.items()
        if not np.isnan(change.difference.value)
    ]
    names = [str(row['figure']) for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y('figure:N', sort=names, title=None),
        tooltip=['figure:N', 'difference:Q', 'low:Q', 'high:Q'],
    )
    title = 'points of AP, with the interval of 95 %'
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X('low:Q', title=title), x2='high:Q')
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x='difference:Q')
    zero = alt.Chart(alt.Data(values=[dict(zero=0)])).mark_rule(strokeDash=[4, 3])
    zero = zero.encode(x='zero:Q')
    return _layers(f'{other} less {first}', 22 * len(rows), zero, bars, dots)


def training_charts(trainings: Sequence[TrainingRun]) -> Iterator[alt.Chart]:
    """The loss, and each figure that validations have measured more than once."""
    measured = {
        key for one in trainings for key, (steps, _) in one.validation.items() if len(steps) > 1
    }
    told = [key for key in measured if key.endswith(('_mAP', '_mAP_50')) or 'agreement/' in key]
    for key in ('loss', *sorted(told)):
        rows = []
        for one in trainings:
            part = one.training if key in one.training else one.validation
            steps, values = part.get(key, ([], []))
            rows += [
                dict(run=one.label, iteration=step, value=_digits(value))
                for step, value in thinned(steps, values)
                if np.isfinite(value)
            ]
        if rows:
            chart = (
                _chart(rows, key)
                .mark_line(point=key != 'loss')
                .encode(
                    x=alt.X('iteration:Q', title='iterations'),
                    y=alt.Y('value:Q', title=key, scale=alt.Scale(zero=False)),
                    color=_colour([one.label for one in trainings]),
                    tooltip=['run:N', 'iteration:Q', 'value:Q'],
                )
            )
            yield chart


def thinned(steps: Sequence[float], values: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Yield the means of equal stretches of a curve that has more than `POINTS` points."""
    for part in np.array_split(np.arange(len(steps)), min(len(steps), POINTS) or 1):
        if len(part):
            yield float(np.mean(np.take(steps, part))), float(np.mean(np.take(values, part)))


def _chart(rows: list[dict[str, Any]], description: str) -> alt.Chart:
    chart = alt.Chart(alt.Data(values=rows), description=description)
    return chart.properties(width='container', height=260, autosize=_AUTOSIZE)


def _below(title: str | None = None) -> alt.Legend:
    """A legend below the chart, where it does not push that of the runs out of a narrow page."""
    return alt.Legend(title=title, orient='bottom', titleOrient='left')


def _layers(description: str, height: int, *layers: alt.Chart) -> alt.LayerChart:
    chart = alt.layer(*layers, description=description)
    return chart.properties(width='container', height=height, autosize=_AUTOSIZE)


def _bars(
    rows: list[dict[str, Any]],
    description: str,
    runs: Sequence[RunFigures],
    field: str,
    order: list[str],
    value: str,
    title: str,
    tooltip: list[str],
) -> alt.Chart:
    names = [one.run.name for one in runs]
    return (
        _chart(rows, description)
        .mark_bar()
        .encode(
            y=alt.Y(f'{field}:N', sort=order, title=None),
            x=alt.X(f'{value}:Q', title=title),
            yOffset=alt.YOffset('run:N', sort=names),
            color=_run_colour(runs),
            tooltip=tooltip,
        )
        .properties(height=len(order) * (12 * len(runs) + 8))
    )


def _run_colour(runs: Sequence[RunFigures]) -> alt.Color:
    return _colour([one.run.name for one in runs])


def _colour(names: list[str]) -> alt.Color:
    legend = alt.Legend(title=None) if len(names) > 1 else None
    return alt.Color('run:N', sort=names, scale=alt.Scale(domain=names), legend=legend)


def _unit(field: str, title: str | None = None, channel: Any = alt.Y) -> Any:
    """An axis from 0 to 1."""
    axis = alt.Axis(tickCount=5, labelFlush=False)
    return channel(f'{field}:Q', title=title or field, scale=alt.Scale(domain=[0, 1]), axis=axis)


def _mean(curves: np.ndarray) -> np.ndarray:
    there = ~np.isnan(curves).all(axis=-1)
    return curves[there].mean(axis=0) if there.any() else np.zeros(curves.shape[-1])


def _digits(value: float) -> float | None:
    """Four digits behind the point, as more would weigh and not be seen; None is not drawn."""
    return None if np.isnan(value) else round(float(value), 4)
