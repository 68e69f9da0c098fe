"""Write one page that tells of test runs: figures, errors, pictures, and what changed.

Each RUN is a folder that `rs4d test` has written, or a work dir, of which the newest test is taken. The
first run is what later ones are compared with. The page opens from disk and asks nobody for anything.
Example: rs4d report work_dirs/before work_dirs/after --out report.html
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the runs and what is shown of them."""
    add = parser.add_argument
    add('runs', nargs='+', metavar='RUN', help='folders of rs4d test, or work dirs')
    add('--out', type=Path, default=Path('report.html'), help='the page; default: %(default)s')
    add('--names', nargs='+', metavar='NAME', help='titles of the runs; default: their folders')
    add('--images', type=Path, metavar='DIR', help='where the images are, if they have moved')
    add(
        '--pictures', type=int, default=8, metavar='N', help='images a reason; default: %(default)s'
    )
    add(
        '--resamples',
        type=int,
        default=1000,
        metavar='N',
        help='draws of images for the intervals; default: %(default)s',
    )


def run(args: argparse.Namespace) -> None:
    """Read the runs, compute, and write the page."""
    from rs4d.errors import ConfigError
    from rs4d.extras import extra_library

    for library in ('altair', 'jinja2', 'vl_convert'):
        extra_library('report', library, 'A report')
    from rs4d.report import read_runs, write_report

    if args.out.suffix.lower() not in ('.html', '.htm'):
        raise ConfigError(f"--out '{args.out}': end the page's name in .html.")
    if args.pictures < 0 or args.resamples < 100:
        raise ConfigError(
            f'--pictures {args.pictures} --resamples {args.resamples}: give 0 pictures or more, and '
            '100 resamples or more.'
        )
    if args.images is not None and not args.images.is_dir():
        raise ConfigError(f"--images '{args.images}' is no folder. Give that of the images.")
    figures = write_report(
        read_runs(args.runs, args.names),
        args.out,
        pictures=args.pictures,
        images=args.images,
        resamples=args.resamples,
    )
    for one in figures:
        for kind, found in one.kinds.items():
            score, best = found.scores['AP'], found.best
            between = f' ({score.low:.3f} to {score.high:.3f})' if score.low == score.low else ''
            at = f'best threshold {best.threshold}' if best.right else 'no detection is right'
            print(
                f'{one.run.name}: {kind} AP {score.value:.3f}{between}, '
                f'AP50 {found.scores["AP50"].value:.3f}, {at}'
            )
    print(f'Report: {args.out}')
