"""Comparing encoders and scan engines: what `rs4d benchmark encoders` and `scan` print and write."""

import argparse
import gc
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
import transformers

import rs4d
from rs4d.analysis.complexity import count_complexity
from rs4d.errors import SetupError
from rs4d.files import write_json, write_text
from rs4d.ops import available_engines
from rs4d.ops.cpu import library as cpu_kernels

from .encoders import ENCODERS, build_encoder
from .memory import peak_memory
from .report import Record, markdown_table, plot_scaling, with_spread
from .scan import time_engines
from .steps import make_step
from .timing import interleave, ratio, spread


def compare_encoders(args: argparse.Namespace) -> None:
    """Measure encoders at several sizes; print and write a table, a plot and the records.

    Args:
        args: The command line of ``rs4d benchmark encoders``.

    Raises:
        SetupError: There is no encoder of a name.
    """
    baseline = args.baseline or args.encoders[-1]
    unknown = [name for name in args.encoders if name not in ENCODERS]
    if unknown:
        raise SetupError(f'No encoder {", ".join(unknown)}; choose from {", ".join(ENCODERS)}.')
    if baseline not in args.encoders:
        raise SetupError(f'--baseline {baseline} is not one of --encoders.')
    header = conditions()
    records: list[Record] = []
    for mode in args.modes:
        for side in args.sides:
            records += _measure(args, baseline, side, mode)
            print(markdown_table(records[-len(args.encoders) :]), flush=True)
            # After each size, so that a run that is stopped leaves what it has.
            content = dict(conditions=header, records=records)
            write_json(args.out / 'benchmark.json', content, indent=2)
    plot_scaling(records, args.out / 'benchmark.png')
    lines = [f'Baseline: {baseline}.', '', markdown_table(records)]
    _finish(args.out / 'benchmark.md', header, lines)


def compare_engines(args: argparse.Namespace) -> None:
    """Time the engines of the selective scan alone; print and write a table.

    Args:
        args: The command line of ``rs4d benchmark scan``.
    """
    lines = _measure_engines(args.shape, args.rounds)
    lines += ['', *(f'- {name}: {status}' for name, status in available_engines().items())]
    _finish(args.out / 'scan_engines.md', conditions(), lines)


def _finish(file: Path, header: dict[str, str | int], lines: Sequence[str]) -> None:
    text = '\n'.join([*(f'- {key}: {value}' for key, value in header.items()), '', *lines])
    write_text(file, text + '\n')
    print(f'{text}\n\nWritten to {file.parent}')


def conditions() -> dict[str, str | int]:
    """Say on what and with what a record was made."""
    return dict(
        command=' '.join(['rs4d', *sys.argv[1:]]),
        processor=_processor_name(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        timm=timm.__version__,
        transformers=transformers.__version__,
        rs4d=rs4d.__version__,
    )


def _processor_name() -> str:
    """Return the processor's name as Linux gives it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


def _measure(args: argparse.Namespace, baseline: str, side: int, mode: str) -> list[Record]:
    """Measure all encoders at one size in one mode."""
    training = mode == 'train'
    models = {name: build_encoder(name, side).to(args.device) for name in args.encoders}
    if args.with_cp:
        for model in models.values():
            if hasattr(model, 'with_cp'):
                setattr(model, 'with_cp', True)  # noqa: B010 - modules have no such attribute to mypy
    steps = {name: make_step(model, side, training) for name, model in models.items()}
    seconds = interleave(steps, args.rounds, args.warmup)
    records = []
    for name, model in models.items():
        # The peer has no counter of its own: its scan is a loop of small operations.
        counts = not training and not name.endswith('huggingface')
        records.append(
            dict(
                encoder=name,
                side=side,
                mode=mode,
                parameters=sum(p.numel() for p in model.parameters()),
                multiply_adds=count_complexity(model, (side, side)).multiply_adds
                if counts
                else None,
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


def _measure_engines(shape: Sequence[int], rounds: int) -> list[str]:
    """Time the scan's engines and return a Markdown table."""
    batch, length, channels, states = shape
    bound = None
    if cpu_kernels.unavailable_reason() is None:
        bound = cpu_kernels.exp_throughput(torch.get_num_threads())
    lines = [
        f'Scan of (B, L, D, N) = {tuple(shape)}.',
        '',
        '| engine | pass | milliseconds | times faster than chunked | of the exponential bound |',
        '|---|---|---|---|---|',
    ]
    for label, seconds in time_engines((batch, length, channels, states), rounds).items():
        for name, samples in seconds.items():
            of_bound = '-'
            if bound is not None and label == 'forward':
                exponentials = batch * length * channels * states
                of_bound = f'{exponentials / bound / spread(samples).median:.0%}'
            lines.append(
                f'| {name} | {label} | {with_spread(spread([1e3 * x for x in samples]))} '
                f'| {with_spread(ratio(seconds["chunked"], samples))} | {of_bound} |'
            )
    if bound is not None:
        lines += ['', f'Bound: {bound / 1e9:.2f} G exponentials a second on the same threads.']
    return lines
