"""Measure the peak memory of a config's training steps, on the CPU, in a process of its own.

The model has random weights, the images are noise with rectangles as objects, the optimizer is the
config's. The peak holds weights, gradients, the optimizer's moments, activations and the libraries.

Example: python tools/analysis_tools/training_memory.py configs/rs4d/rs4d-base_prompt_ssdd.py
"""

import argparse
import sys
from collections.abc import Sequence

import torch

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.analysis.benchmark.training_memory import training_memory
from rs4d.cli.common import load_config, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config file of a detector')
    add = parser.add_argument
    add('--size', type=int, default=512, help='side of an image in pixels, default: %(default)s')
    add('--instances', type=int, default=20, help='objects of an image, default: %(default)s')
    add('--batch-size', type=int, default=1, help='images of a step, default: %(default)s')
    add(
        '--steps',
        type=int,
        default=2,
        help='default: %(default)s, as Adam fills its moments in one',
    )
    add('--threads', type=int, default=0, help='0: as PyTorch chooses')
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> None:
    """Measure and print."""
    load_config(args.config)  # a wrong path is said here, not by the other process
    if args.threads:
        torch.set_num_threads(args.threads)
    found = training_memory(args.config, args.size, args.instances, args.batch_size, args.steps)
    print(f'config       {args.config}')
    print(f'input        {args.batch_size} x 3 x {args.size} x {args.size}')
    print(f'objects      {args.instances} an image')
    if found is None:
        print('peak         more than this machine has')
        return
    if found.masks:
        print(f'masks        {found.masks} decoded in a step')
    print(f'peak         {found.peak / 1024:.2f} GiB')
    print(f'  libraries  {found.libraries / 1024:.2f} GiB, before the model was built')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('training_memory', lambda: measure(args))


if __name__ == '__main__':
    sys.exit(main())
