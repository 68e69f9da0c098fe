"""List all configs as a Markdown table: what they are made of, what they cost, published AP.

Costs are of the encoder / of the whole model's prediction for one image of the config's input size;
tools/analysis_tools/get_flops.py says what is counted. It takes some minutes.
Example: python tools/analysis_tools/list_configs.py --write
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import MMLogger

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.analysis.config_matrix import (
    CostCounter,
    add_costs,
    describe_config,
    leaf_configs,
    render_matrix,
    replace_matrix,
)
from rs4d.cli.common import load_config, run_tool
from rs4d.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'configs.md'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    for option, text in (('--write', 'put the table into'), ('--check', 'compare the table in')):
        what.add_argument(
            option,
            nargs='?',
            type=Path,
            const=PAGE,
            metavar='FILE',
            help=f'{text} this Markdown file, between its two marks (default: docs/configs.md)',
        )
    parser.add_argument(
        '--root',
        type=Path,
        default=ROOT,
        help='folder that holds configs/ (default: this checkout)',
    )
    return parser.parse_args(argv)


def matrix(root: Path) -> str:
    """Read and count every config."""
    # Its notes on environment variables would stand in the midst of the table.
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    counter, rows = CostCounter(), []
    paths = leaf_configs(root)
    for number, path in enumerate(paths, 1):
        print(f'{number} of {len(paths)}: {path.name}', file=sys.stderr)
        cfg = load_config(path)
        rows.append(add_costs(describe_config(cfg, path.relative_to(root)), cfg, counter))
    return render_matrix(rows)


def list_configs(args: argparse.Namespace) -> None:
    """Print, write or compare the table."""
    file = args.write or args.check
    if file is None:
        print(matrix(args.root))
        return
    if not file.is_file():
        raise SetupError(f"'{file}' does not exist. Name the Markdown file that holds the table.")
    # Its marks are looked for before the minutes of counting, its text after them.
    replace_matrix(file.read_text(encoding='utf-8'), '', file)
    table = matrix(args.root)
    text = file.read_text(encoding='utf-8')
    new = replace_matrix(text, table, file)
    if args.write:
        file.write_text(new, encoding='utf-8')
    elif new != text:
        changed = set(new.splitlines()) ^ set(text.splitlines())
        raise SetupError(
            f"The table in '{file}' is not what the configs give; {len(changed)} lines differ, such as "
            f"'{min(changed)}'. Run tools/analysis_tools/list_configs.py --write."
        )
    print(f'{"Wrote" if args.write else "Up to date:"} {file}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('list_configs', lambda: list_configs(args))


if __name__ == '__main__':
    sys.exit(main())
