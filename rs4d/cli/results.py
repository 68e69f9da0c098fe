"""The table of results, from the metrics.json of tests: figures, cost, machine and commit.

A RUN is a work dir of `rs4d test`, or a metrics.json. Without --write the table is printed.
Example: rs4d results work_dirs/rs4d-tiny_light_ssdd --write docs/results.md
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the runs, and where the table goes."""
    add = parser.add_argument
    add('runs', nargs='+', metavar='RUN', help='a work dir of a test, or its metrics.json')
    add(
        '--write',
        type=Path,
        metavar='FILE',
        help='put the rows into the table of this Markdown file, between its two marks; those of '
        'other runs stay',
    )


def run(args: argparse.Namespace) -> None:
    """Print or write."""
    from rs4d.analysis.results_table import read_result, render, write_results

    rows = [read_result(path) for path in args.runs]
    if args.write:
        print(f'{args.write}: {write_results(rows, args.write)} rows')
    else:
        print(render(rows))
