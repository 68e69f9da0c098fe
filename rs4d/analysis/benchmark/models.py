"""Comparing whole detectors: what `rs4d benchmark models` writes."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from rs4d.errors import ConfigError
from rs4d.files import write_json

from .detector_memory import detector_memory
from .detectors import PARTS, DetectorSteps, Mode, Workload, read_detector
from .disturbance import busy_processes
from .model_plot import check_picture, draw_models
from .record import Record
from .report import conditions, write_table
from .timing import Spread, interleave, ratio, spread


@dataclass(frozen=True)
class Turns:
    """How often and how detectors are measured.

    Attributes:
        rounds: Turns of each.
        warmup: Turns before those that count.
        disturb: Processes that are busy beside, in a second turn of each round; 0 for none.
        memory: Whether peak memory is measured.
    """

    rounds: int = 5
    warmup: int = 1
    disturb: int = 0
    memory: bool = True


def compare_models(
    configs: Sequence[str],
    modes: Sequence[Mode],
    precisions: Sequence[str],
    work: Workload,
    turns: Turns,
    out: Path,
    baseline: str | None = None,
    plot: Path | None = None,
) -> Iterator[str]:
    """Measure whole predictions and training steps of detectors; write tables and the records.

    Args:
        configs: Of detectors.
        modes: What is measured.
        precisions: Keys of ``PRECISIONS``.
        work: What a step works on; its mode is not read.
        turns: How it is measured.
        out: Folder of the records and the tables.
        baseline: The config that ratios refer to; by default the last one.
        plot: A picture of the parts, ``.png`` or ``.svg``.

    Yields:
        The tables of what has been measured so far, after each mode.

    Raises:
        ConfigError: A config does not fit, or the baseline is not measured.
    """
    names = _names(configs)
    if baseline is not None and baseline not in names:
        raise ConfigError(f'--baseline {baseline} is not one of the configs that are measured.')
    if plot is not None:
        check_picture(plot)
    reference = names[baseline or configs[-1]]
    works = [replace(work, mode=mode) for mode in modes]
    # What is wrong with a config is said before anything is measured.
    read = [{config: read_detector(config, work) for config in configs} for work in works]
    records: list[Record] = []
    lines = [f'Baseline: {reference}.']
    for work, detectors in zip(works, read, strict=True):
        measured = _measure(names, detectors, precisions, work, turns)
        records += measured
        lines += ['', *_table(measured, reference, turns.disturb)]
        # After each mode, so that a run that is stopped leaves what it has.
        content = dict(conditions=conditions(), records=[asdict(record) for record in records])
        write_json(out / 'models.json', content, indent=2)
        if plot is not None:
            draw_models(records, plot)
        yield write_table(out / 'models.md', lines)


def _names(configs: Sequence[str]) -> dict[str, str]:
    """Name configs by their files, or by their paths where two files have the same name."""
    stems = [Path(config).stem for config in configs]
    return {
        config: stem if stems.count(stem) == 1 else config
        for config, stem in zip(configs, stems, strict=True)
    }


def _measure(
    names: dict[str, str],
    read: dict[str, Config],
    precisions: Sequence[str],
    work: Workload,
    turns: Turns,
) -> list[Record]:
    """Measure all detectors in one mode."""
    detectors = {config: DetectorSteps(cfg, work) for config, cfg in read.items()}
    laps: dict[tuple[str, str, int], list[dict[str, float]]] = {
        (config, precision, busy): []
        for config in names
        for precision in precisions
        for busy in sorted({0, turns.disturb})
    }

    def turn(key: tuple[str, str, int]) -> None:
        laps[key].append(detectors[key[0]].step(key[1]))

    def beside(key: tuple[str, str, int]) -> AbstractContextManager:
        return busy_processes(key[2]) if key[2] else nullcontext()

    steps = {key: partial(turn, key) for key in laps}
    with DefaultScope.overwrite_default_scope('mmdet'):
        seconds = interleave(steps, turns.rounds, turns.warmup, beside)
    records = []
    for config, precision, busy in laps:
        if busy:
            continue
        counted = laps[config, precision, 0][-turns.rounds :]
        found = detectors[config].detections
        records.append(
            Record(
                model=names[config],
                mode=work.mode,
                precision=precision,
                shape=detectors[config].shape,
                images=work.batch_size if work.mode == 'train' else 1,
                objects=work.instances if found is None else found,
                seconds=seconds[config, precision, 0],
                parts={part: [lap.get(part, 0.0) for lap in counted] for part in PARTS[work.mode]},
                disturbed=seconds[config, precision, turns.disturb] if turns.disturb else [],
            )
        )
    configs = {name: config for config, name in names.items()}
    detectors.clear()
    gc.collect()  # their watched methods hold them
    if turns.memory:
        for record in records:
            number = 2 if work.mode == 'train' else 1
            memory = detector_memory(configs[record.model], work, record.precision, number)
            record.peak_mib = None if memory is None else memory.peak - memory.libraries
    return records


def _table(records: Sequence[Record], baseline: str, disturb: int) -> list[str]:
    """Write the records of one mode as a Markdown table and a sentence on the best precisions."""
    mode = records[0].mode
    references = {record.precision: record for record in records if record.model == baseline}
    columns = ['model', 'side', 'objects', 'precision', 'seconds', *PARTS[mode], 'peak MiB']
    columns += ['times faster']
    if disturb:
        columns += [f'seconds beside {disturb} busy', 'times slower there']
    if mode == 'train':
        columns.insert(1, 'images')
    title = 'Predictions of one image' if mode == 'predict' else 'Training steps'
    lines = [
        f'{title}: medians with quartiles, parts in seconds; how many times faster than the baseline '
        'in the same precision.',
        '',
    ]
    lines += [_row(columns), _row(['---'] * len(columns))]
    for record in records:
        height, width = record.shape
        side = str(width) if height == width else f'{width}x{height}'
        cells = [record.model, side, str(record.objects), record.precision]
        if mode == 'train':
            cells.insert(1, str(record.images))
        cells += [str(spread(record.seconds))]
        cells += [f'{spread(seconds).median:.3g}' for seconds in record.parts.values()]
        cells += ['-' if record.peak_mib is None else f'{record.peak_mib:.0f}']
        cells += [str(ratio(references[record.precision].seconds, record.seconds))]
        if disturb:
            cells += [str(spread(record.disturbed)), str(ratio(record.disturbed, record.seconds))]
        lines.append(_row(cells))
    if len(references) > 1:
        best = _fastest(list(references.values()))
        lines += ['', f'Each in its fastest precision, against {baseline} in {best.precision}:', '']
        for model in dict.fromkeys(record.model for record in records):
            own = _fastest([record for record in records if record.model == model])
            times = ratio(best.seconds, own.seconds)
            lines.append(f'- {model} in {own.precision}: {times} times as fast')
    return lines


def _row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _fastest(records: Sequence[Record]) -> Record:
    medians: list[Spread] = [spread(record.seconds) for record in records]
    return records[min(range(len(records)), key=lambda i: medians[i].median)]
