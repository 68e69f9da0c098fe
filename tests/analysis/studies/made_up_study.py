"""A study whose runs nobody has done, and what they would have left."""

import json
from pathlib import Path

from rs4d.analysis.studies.plan import Run
from rs4d.analysis.studies.run_folder import RunFolder

STUDY = """
title: Made up
about: A text.
seeds: [0, 1]
steps:
  first: {config: a.py, epochs: 2, seeds: [0]}
  second:
    config: b.py
    epochs: 3
    settings: {x: <first>}
    grid: {how: {one: {}, two: {}}}
figures: {agreement/cosine: cosine, coco/segm_mAP: mask AP, train/memory: MB}
curves: [coco/segm_mAP]
"""
WORDS = ['rs4d', 'study', 'made up.yaml']


def finish(folder: Path, run: Run, commit: str = 'abc', **metrics: float) -> None:
    """Leave what a run leaves: its result, and a log with two validations."""
    found = dict(seed=run.seed, run=run.name, labels=dict(run.labels), epochs=run.epochs)
    circumstances = dict(machine='a CPU, 2 cores', commit=commit, finished='2026-01-02 03:04:05')
    own = {key.replace('__', '/'): value for key, value in metrics.items()}
    place = RunFolder(folder / run.name)
    place.finish(found | circumstances | dict(cpu_minutes=1.5 + run.seed, metrics=own))
    log = place.path / 'time' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    lines = []
    for number in (1, 2):
        lines.append(dict(step=50 * number, loss=1.0))
        figures = {key: value * number / 2 for key, value in own.items() if 'train' not in key}
        lines.append(dict(step=number, cpu_minutes=number / 2) | figures)
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
