"""Compare encoders: time, memory, parameters and multiply-adds, at several input sizes.

All encoders of a size take turns, and ratios to the baseline are taken round by round, so that a
busy machine disturbs them alike. Peak memory is measured in a fresh process for each. With --ops,
the engines of the selective scan are timed alone.

A result is written as JSON, as a Markdown table and as a plot.
"""

import argparse
import gc
import json
import platform
import sys
from pathlib import Path

import timm
import torch
import transformers

import rs4d
from rs4d.analysis.benchmark import interleave, ratio, spread
from rs4d.analysis.benchmark.encoders import ENCODERS, build_encoder
from rs4d.analysis.benchmark.memory import peak_memory
from rs4d.analysis.benchmark.report import Record, markdown_table, plot_scaling, with_spread
from rs4d.analysis.benchmark.scan import time_engines
from rs4d.analysis.benchmark.steps import make_step
from rs4d.analysis.complexity import count_complexity
from rs4d.ops import available_engines, cpu_kernels


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--encoders',
        nargs='+',
        default=['rsmamba-base', 'sam-vit-b', 'resnet-50'],
        help=f'which ones: {", ".join(ENCODERS)}',
    )
    parser.add_argument('--baseline', help='the one that ratios refer to; default: the last one')
    parser.add_argument('--sides', nargs='+', type=int, default=[512, 1024], help='pixels')
    parser.add_argument('--modes', nargs='+', choices=['infer', 'train'], default=['infer'])
    parser.add_argument('--rounds', type=int, default=5, help='turns of each encoder')
    parser.add_argument(
        '--warmup', type=int, default=1, help='turns before those that count; 0 for a slow peer'
    )
    parser.add_argument('--threads', type=int, default=0, help='0: as PyTorch chooses')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--no-memory', action='store_true', help='leave out peak memory')
    parser.add_argument(
        '--with-cp', action='store_true', help='activation checkpointing of RSMamba'
    )
    parser.add_argument('--ops', action='store_true', help='time the scan engines alone')
    parser.add_argument(
        '--scan-shape', nargs=4, type=int, default=[1, 4096, 512, 16], help='B L D N for --ops'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder')
    args = parser.parse_args(argv)
    unknown = [name for name in args.encoders if name not in ENCODERS]
    if unknown:
        parser.error(f'no encoder {", ".join(unknown)}; choose from {", ".join(ENCODERS)}')
    args.baseline = args.baseline or args.encoders[-1]
    if args.baseline not in args.encoders:
        parser.error(f'--baseline {args.baseline} is not one of --encoders')
    return args


def conditions() -> dict[str, str | int]:
    """Say on what and with what a record was made."""
    return dict(
        command=' '.join(['python', *sys.argv]),
        processor=processor_name(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        timm=timm.__version__,
        transformers=transformers.__version__,
        rs4d=rs4d.__version__,
    )


def processor_name() -> str:
    """Return the processor's name as Linux gives it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


def measure(args: argparse.Namespace, side: int, mode: str) -> list[Record]:
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
                ratio=ratio(seconds[args.baseline], seconds[name]),
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


def measure_engines(args: argparse.Namespace) -> list[str]:
    """Time the scan's engines and return a Markdown table."""
    shape = tuple(args.scan_shape)
    batch, length, channels, states = shape
    bound = None
    if cpu_kernels.unavailable_reason() is None:
        bound = cpu_kernels.exp_throughput(torch.get_num_threads())
    lines = [
        f'Scan of (B, L, D, N) = {shape}.',
        '',
        '| engine | pass | milliseconds | times faster than chunked | of the exponential bound |',
        '|---|---|---|---|---|',
    ]
    for label, seconds in time_engines(shape, args.rounds).items():
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


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and write what it found."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    header = conditions()
    text = [f'- {key}: {value}' for key, value in header.items()] + ['']
    if args.ops:
        text += measure_engines(args)
        text += ['', *(f'- {name}: {status}' for name, status in available_engines().items())]
    else:
        records = []
        for mode in args.modes:
            for side in args.sides:
                records += measure(args, side, mode)
                print(markdown_table(records[-len(args.encoders) :]), flush=True)
                # After each size, so that a run that is stopped leaves what it has.
                (args.out / 'benchmark.json').write_text(
                    json.dumps(dict(conditions=header, records=records), indent=2) + '\n'
                )
        text += [f'Baseline: {args.baseline}.', '', markdown_table(records)]
        plot_scaling(records, args.out / 'benchmark.png')
    name = 'scan_engines.md' if args.ops else 'benchmark.md'
    (args.out / name).write_text('\n'.join(text) + '\n')
    print('\n'.join(text))
    print(f'\nWritten to {args.out}')


if __name__ == '__main__':
    main()
