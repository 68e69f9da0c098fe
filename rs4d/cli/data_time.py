"""Say how much of its steps a training spent waiting for data.

The run has to log every step by itself, as it does with
    --cfg-options default_hooks.logger.interval=1 log_processor.window_size=1
Example: python tools/analysis_tools/data_time.py work_dirs/a
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

from rs4d.cli.common import run_tool
from rs4d.visualization import TrainingLogError, read_run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', help="work dirs, or a run's scalars.json")
    parser.add_argument('--skip', type=int, default=0, help='steps at the beginning to leave out')
    return parser.parse_args(argv)


def describe(path: str, skip: int = 0) -> str:
    """Sum up the steps of a run.

    Args:
        path: A work dir, or a ``scalars.json``.
        skip: How many steps at the beginning are left out.

    Returns:
        One line: the share of the time of all steps, and that of the median and the worst step.

    Raises:
        TrainingLogError: There is no log, it has no times, or no step is left.
    """
    run = read_run(path)
    missing = [key for key in ('time', 'data_time') if key not in run.training]
    if missing:
        raise TrainingLogError(
            f"The log of '{path}' has no {' and no '.join(missing)}. Train with IterTimerHook "
            '(default_hooks.timer), as the configs here do.'
        )
    (steps, times), (_, waits) = run.training['time'], run.training['data_time']
    times, waits = times[skip:], waits[skip:]
    if not times:
        raise TrainingLogError(
            f"The log of '{path}' has {len(steps)} entries, and --skip leaves none of them. Train "
            'for longer, or skip fewer.'
        )
    shares = [wait / time for wait, time in zip(waits, times, strict=True)]
    return (
        f'{run.label}: {len(times)} entries, {sum(times):.1f} s, of which {sum(waits):.2f} s '
        f'({sum(waits) / sum(times):.2%}) waiting for data; median {statistics.median(shares):.2%}, '
        f'worst {max(shares):.2%} of an entry; median entry {statistics.median(times):.3f} s'
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)

    def work() -> None:
        for path in args.runs:
            print(describe(path, args.skip))

    return run_tool('data_time', work)


if __name__ == '__main__':
    sys.exit(main())
