"""Charts are what Vega-Lite's schema says they may be."""

from pathlib import Path

import altair as alt
import pytest

from rs4d.report import charts, figures, read_runs


@pytest.mark.parametrize('number', [1, 2])
def test_all_charts_are_valid(two_tests: tuple[Path, Path], number: int) -> None:
    """Altair validates by the schema, which the page leaves out for speed."""
    runs = read_runs(two_tests[:number])
    found = figures.compute(runs, resamples=100)
    made = [
        chart(found, kind)
        for kind in found[0].kinds
        for chart in (
            charts.overlap_chart,
            charts.precision_recall_chart,
            charts.threshold_chart,
            charts.error_chart,
            charts.class_chart,
        )
    ]
    kinds = [one.kinds for one in found]
    changes = {kind: figures.changes(kinds[0][kind], kinds[-1][kind]) for kind in kinds[0]}
    made.append(charts.change_chart('a', 'b', changes))
    made += charts.training_charts([run.training for run in runs if run.training is not None])
    assert len(made) == 13
    for chart in made:
        content = chart.to_dict(validate=True)
        assert content['description']
        assert content['width'] == 'container'
        assert content['$schema'].endswith(f'{alt.SCHEMA_VERSION}.json')


def test_long_curves_are_thinned_to_means() -> None:
    points = list(charts.thinned(range(6000), range(6000)))
    assert len(points) == charts.POINTS
    assert points[0] == (9.5, 9.5)
    assert list(charts.thinned([], [])) == []
    assert list(charts.thinned([3, 4], [1, 2])) == [(3, 1), (4, 2)]
