"""Write an encoder of ours as one safetensors file, with its architecture as JSON in the header.

The source may be the checkpoint of a distillation or of a detector, or hold the encoder alone.
`init_cfg=dict(type='Pretrained', checkpoint='encoder.safetensors')` loads the result.
Example: python tools/model_converters/encoder2safetensors.py latest.pth encoder.safetensors
"""

import argparse
import json
import sys
from collections.abc import Sequence

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.checkpoints.conversion import export_encoder
from rs4d.cli.common import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='a checkpoint with the encoder')
    parser.add_argument('target', help='the file to write, .safetensors')
    parser.add_argument('--prefix', help="start of the encoder's names, if there are several")
    parser.add_argument('--overwrite', action='store_true', help='replace an existing target')
    return parser.parse_args(argv)


def convert(args: argparse.Namespace) -> None:
    """Convert and print the header."""
    header = export_encoder(args.source, args.target, args.prefix, args.overwrite)
    print(f'{args.target}: {json.dumps(header)}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('encoder2safetensors', lambda: convert(args))


if __name__ == '__main__':
    sys.exit(main())
