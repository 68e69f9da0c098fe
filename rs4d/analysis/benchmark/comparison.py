"""Comparing encoders: what `rs4d benchmark encoders` writes."""

import argparse
import gc
from collections.abc import Iterator
from typing import Any

from rs4d.analysis.complexity import count_complexity
from rs4d.errors import ConfigError
from rs4d.files import write_json

from .encoders import build_encoder, make_step
from .memory import peak_memory
from .report import conditions, write_table
from .timing import interleave, ratio, spread

HEADER = (
    '| encoder | side | mode | parameters (M) | multiply-adds (G) | GFLOPs | seconds '
    '| images/s | peak MiB | times faster than the baseline |',
    '|---|---|---|---|---|---|---|---|---|---|',
)


def compare_encoders(args: argparse.Namespace) -> Iterator[str]:
    """Measure encoders at several sizes; write a table and the records.

    Args:
        args: The command line of ``rs4d benchmark encoders``.

    Yields:
        The table of what has been measured so far, after each size.

    Raises:
        ConfigError: The baseline is not measured.
    """
    baseline = args.baseline or args.encoders[-1]
    if baseline not in args.encoders:
        raise ConfigError(f'--baseline {baseline} is not one of --encoders.')
    records: list[dict[str, Any]] = []
    for mode in args.modes:
        for side in args.sides:
            records += _measure(args, baseline, side, mode)
            # After each size, so that a run that is stopped leaves what it has.
            content = dict(conditions=conditions(), records=records)
            write_json(args.out / 'benchmark.json', content, indent=2)
            table = [*HEADER, *map(_row, records)]
            yield write_table(args.out / 'benchmark.md', [f'Baseline: {baseline}.', '', *table])


def _measure(args: argparse.Namespace, baseline: str, side: int, mode: str) -> list[dict[str, Any]]:
    """Measure all encoders at one size in one mode."""
    training = mode == 'train'
    models = {
        name: build_encoder(name, side, args.with_cp).to(args.device) for name in args.encoders
    }
    steps = {name: make_step(model, side, training) for name, model in models.items()}
    seconds = interleave(steps, args.rounds, args.warmup)
    records = []
    for name, model in models.items():
        # The peer has no counter of its own: its scan is a loop of small operations.
        counts = not training and not name.endswith('huggingface')
        cost = count_complexity(model, (side, side)).multiply_adds if counts else None
        records.append(
            dict(
                encoder=name,
                side=side,
                mode=mode,
                parameters=sum(p.numel() for p in model.parameters()),
                multiply_adds=cost,
                seconds=spread(seconds[name]),
                all_seconds=seconds[name],
                ratio=ratio(seconds[baseline], seconds[name]),
                peak_mib=None,
            )
        )
    models.clear()
    steps.clear()
    gc.collect()
    if not args.no_memory and args.device == 'cpu':
        for record in records:
            record['peak_mib'] = peak_memory(record['encoder'], side, training, args.with_cp)
    return records


def _row(record: dict[str, Any]) -> str:
    cost, peak = record['multiply_adds'], record['peak_mib']
    # Counted for inference; training does about three times the work and is not counted.
    counted = f'{cost / 1e9:.0f} | {2 * cost / 1e9:.0f}' if cost else '- | -'
    return (
        f'| {record["encoder"]} | {record["side"]} | {record["mode"]} '
        f'| {record["parameters"] / 1e6:.1f} | {counted} '
        f'| {record["seconds"]} | {1 / record["seconds"].median:.3g} '
        f'| {"-" if peak is None else f"{peak:.0f}"} | {record["ratio"]} |'
    )
