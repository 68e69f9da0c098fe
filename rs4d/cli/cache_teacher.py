"""Run the teacher of stage 1 once over the images and keep its embeddings on disk.

Several processes may work on one cache side by side: give each its --rank and all the same
--world-size, or start them by torchrun or Slurm. Start it again after a kill; it goes on.
Example: rs4d cache-teacher configs/distill/rs4d-base_sam-vit-b_sa1b_cached.py
"""

import argparse
import signal

from .common import add_config_arguments, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is encoded, by which of several processes, and where it goes."""
    add_config_arguments(parser, 'a config of stage 1')
    add = parser.add_argument
    add('--out', help="folder of the cache (default: the config's teacher_cache)")
    add('--splits', nargs='+', default=['train', 'val'], metavar='SPLIT')
    add('--dry-run', action='store_true', help='estimate disk and time, and end')
    add('--verify', action='store_true', help='check an existing cache, and end')
    add('--rank', type=int, help='which of the processes this is, from 0')
    add('--world-size', type=int, help='how many processes there are')
    add('--batch-size', type=int, help="default: the config's for training")
    add('--num-workers', type=int, help="default: the config's for training")
    add('--images-per-shard', type=int, default=128, help='a kill costs at most so many images')
    add('--device', help='default: a GPU by local rank, or the CPU')
    add(
        '--dtype',
        choices=['float32', 'float16', 'bfloat16'],
        help="in what the teacher runs (default: the config's teacher_dtype, or float32)",
    )


def run(args: argparse.Namespace) -> None:
    """Fill the cache, or check it."""
    from rs4d.distillation.teacher_cache.caching import cache_teacher

    # Slurm ends a job by SIGTERM; what is encoded is then written, as after Ctrl-C.
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cache_teacher(read_config(args), args)
    finally:
        signal.signal(signal.SIGTERM, earlier)


def interrupted(args: argparse.Namespace) -> str:
    """Say what becomes of what was done."""
    return 'The images that were encoded are in the cache; the same command goes on.'
