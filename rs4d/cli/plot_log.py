"""Draw the curves of several training runs together.

Example:
    python tools/analysis_tools/plot_log.py work_dirs/a work_dirs/b --keys loss coco/segm_mAP_50
"""

import argparse
import sys
from collections.abc import Sequence

from mmengine.logging import print_log

from rs4d.cli.common import run_tool
from rs4d.visualization import TrainingLogError, draw_curves, read_run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', help="work dirs, or a run's scalars.json")
    parser.add_argument('--keys', nargs='+', default=['loss'], help='a panel each; default: loss')
    parser.add_argument('--labels', nargs='+', help='names of the runs; default: their folders')
    parser.add_argument('--smooth', type=float, default=0.0, help='0 (not) to below 1')
    parser.add_argument('--out', default='curves.png', help='.png or .svg; default: %(default)s')
    return parser.parse_args(argv)


def plot(args: argparse.Namespace) -> None:
    """Read the runs and write the picture."""
    if args.labels is not None and len(args.labels) != len(args.runs):
        raise TrainingLogError(
            f'--labels has {len(args.labels)} names for {len(args.runs)} runs; give one for each.'
        )
    labels = args.labels or [None] * len(args.runs)
    runs = [read_run(path, label) for path, label in zip(args.runs, labels, strict=True)]
    out = draw_curves(runs, args.keys, args.out, args.smooth)
    print_log(f'Curves: {out}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('plot_log', lambda: plot(args))


if __name__ == '__main__':
    sys.exit(main())
