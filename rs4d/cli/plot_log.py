"""Draw the curves of several training runs together.

Example: rs4d plot-log work_dirs/a work_dirs/b --keys loss coco/segm_mAP_50
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the runs and what is drawn of them."""
    add = parser.add_argument
    add('runs', nargs='+', help="work dirs, or a run's scalars.json")
    add('--keys', nargs='+', default=['loss'], help='a panel each; default: loss')
    add('--labels', nargs='+', help='names of the runs; default: their folders')
    add('--smooth', type=float, default=0.0, help='0 (not) to below 1')
    add('--out', default='curves.png', help='.png or .svg; default: %(default)s')


def run(args: argparse.Namespace) -> None:
    """Read the runs and write the picture."""
    from rs4d.errors import ConfigError
    from rs4d.visualization import draw_curves, read_run

    if args.labels is not None and len(args.labels) != len(args.runs):
        raise ConfigError(
            f'--labels has {len(args.labels)} names for {len(args.runs)} runs; give one for each.'
        )
    labels = args.labels or [None] * len(args.runs)
    runs = [read_run(path, label) for path, label in zip(args.runs, labels, strict=True)]
    print(f'Curves: {draw_curves(runs, args.keys, args.out, args.smooth)}')
