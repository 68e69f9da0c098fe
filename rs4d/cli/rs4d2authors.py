"""Turn an encoder of ours into a file as the method's authors publish theirs.

The source may be the checkpoint of a distillation or of a detector, or hold the encoder alone, as
.pth or .safetensors; the result is the encoder's state dict and nothing else.
Example: python tools/model_converters/rs4d2authors.py work_dirs/distill/latest.pth student.pth
"""

import argparse
import sys
from collections.abc import Sequence

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.checkpoints.conversion import to_authors
from rs4d.cli.common import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='a checkpoint with the encoder')
    parser.add_argument('target', help='the file to write, .pth')
    parser.add_argument('--prefix', help="start of the encoder's names, if there are several")
    parser.add_argument(
        '--module', action='store_true', help="start every name with 'module.', as theirs may"
    )
    parser.add_argument('--overwrite', action='store_true', help='replace an existing target')
    return parser.parse_args(argv)


def convert(args: argparse.Namespace) -> None:
    """Convert and say what was found."""
    architecture = to_authors(args.source, args.target, args.prefix, args.module, args.overwrite)
    print(f'{args.target}: {architecture["type"]} {architecture["arch"]}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('rs4d2authors', lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
