"""Turn a student file published by the method's authors into a checkpoint for stage 2.

The result holds the encoder as `student.*`, like the checkpoint of a distillation, so that the
configs in configs/rs4d read it as it is; with the ending .safetensors it holds the encoder alone,
with its architecture in the header. Nothing that the file may bring is run.
Example: python tools/model_converters/authors2rs4d.py student.pth work_dirs/student/latest.pth
"""

import argparse
import sys
from collections.abc import Sequence

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.checkpoints.conversion import from_authors
from rs4d.cli.common import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='the published file')
    parser.add_argument('target', help='the file to write, .pth or .safetensors')
    parser.add_argument('--prefix', help="start of the encoder's names, if there are several")
    parser.add_argument('--overwrite', action='store_true', help='replace an existing target')
    return parser.parse_args(argv)


def convert(args: argparse.Namespace) -> None:
    """Convert and say what was found."""
    architecture = from_authors(args.source, args.target, args.prefix, args.overwrite)
    print(f'{args.target}: {architecture["type"]} {architecture["arch"]}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('authors2rs4d', lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
