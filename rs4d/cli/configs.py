"""List the configs that rs4d brings; with --costs, what each is made of and what it costs.

Any name that is listed can be given to the other commands, and be inherited as in
_base_ = ['rs4d::_base_/default_runtime.py']. With --costs and --write the list is a Markdown table; its
costs are of the encoder / of the whole model's prediction for one image of the config's input size,
as `rs4d flops` counts them, which takes some minutes.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is listed, and where it goes."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--costs', action='store_true', help='print the table')
    what.add_argument(
        '--write',
        type=Path,
        metavar='FILE',
        help='put the table into this Markdown file, between its two marks, as in docs/configs.md',
    )
    what.add_argument(
        '--metafiles',
        action='store_true',
        help="write metafile.yml of each folder, as MMDetection's zoo has it, from the tables in "
        'docs/configs.md and docs/results.md',
    )
    parser.add_argument(
        '--root', type=Path, help='folder that holds configs/ (default: the one of rs4d)'
    )


def run(args: argparse.Namespace) -> None:
    """List, print or write."""
    from rs4d.config.packages import SHIPPED, leaf_configs

    root = args.root or SHIPPED
    if args.metafiles:
        from rs4d.analysis.metafiles import write_metafiles

        for file in write_metafiles(args.root or Path.cwd()):
            print(file)
        return
    if not (args.costs or args.write):
        paths = [file.relative_to(root / 'configs').as_posix() for file in leaf_configs(root)]
        # In one piece, since `| head` leaves before the end.
        print(
            '\n'.join(f'{root}/configs/{path}' if args.root else f'rs4d::{path}' for path in paths)
        )
        return
    from rs4d.analysis.config_matrix import make_matrix, write_matrix

    if args.costs:
        print(make_matrix(root))
    else:
        write_matrix(root, args.write)
        print(f'Wrote {args.write}')
