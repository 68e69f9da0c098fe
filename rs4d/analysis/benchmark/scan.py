"""Each engine of the selective scan alone: `rs4d benchmark scan`."""

import math
from functools import partial
from pathlib import Path

import torch

from rs4d.ops import available_engines, selective_scan
from rs4d.ops.cpu import library as cpu_kernels

from .report import write_table
from .timing import interleave, ratio, spread


def compare_engines(shape: tuple[int, int, int, int], rounds: int, out: Path) -> str:
    """Time every engine that can run, forward alone and with backward; write a table.

    Args:
        shape: B, L, D and N.
        rounds: Times each is measured.
        out: Folder of the table.

    Returns:
        The table.
    """
    batch, length, channels, states = shape
    torch.manual_seed(0)
    drawn = [
        torch.randn(batch, length, channels),
        torch.rand(batch, length, channels) * 0.1,
        -torch.rand(channels, states) * states,
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.randn(channels),
    ]
    tensors = [x.requires_grad_() for x in drawn]

    def forward(name: str) -> None:
        with torch.no_grad():
            selective_scan(*tensors, engine=name)

    def both(name: str) -> None:
        y = selective_scan(*tensors, engine=name)
        torch.autograd.grad(y.sum(), tensors)

    engines = available_engines()
    names = [name for name, status in engines.items() if status.available]
    if not torch.cuda.is_available():
        names = [name for name in names if name not in ('cuda', 'triton')]
    bound = None
    if cpu_kernels.unavailable_reason() is None:
        bound = cpu_kernels.exp_throughput(torch.get_num_threads())
    lines = [
        f'Scan of (B, L, D, N) = {tuple(shape)}.',
        '',
        '| engine | pass | milliseconds | times faster than chunked | of the exponential bound |',
        '|---|---|---|---|---|',
    ]
    for label, step in (('forward', forward), ('forward + backward', both)):
        seconds = interleave({name: partial(step, name) for name in names}, rounds)
        for name, samples in seconds.items():
            of_bound = '-'
            if bound is not None and label == 'forward':
                of_bound = f'{math.prod(shape) / bound / spread(samples).median:.0%}'
            lines.append(
                f'| {name} | {label} | {spread([1e3 * x for x in samples])} '
                f'| {ratio(seconds["chunked"], samples)} | {of_bound} |'
            )
    if bound is not None:
        lines += ['', f'Bound: {bound / 1e9:.2f} G exponentials a second on the same threads.']
    lines += ['', *(f'- {name}: {status}' for name, status in engines.items())]
    return write_table(out / 'scan_engines.md', lines)
