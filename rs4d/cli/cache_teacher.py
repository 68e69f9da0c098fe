"""Run the teacher of stage 1 once over the images and keep its embeddings on disk.

Several processes may work on one cache side by side: give each its --rank and all the same
--world-size, or start them by torchrun or Slurm. Start it again after a kill; it goes on.
Example: rs4d cache-teacher configs/distill/rs4d-base_sam-vit-b_sa1b_cached.py
"""

import argparse
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from .common import add_config_arguments, quiet_mmengine, read_config

if TYPE_CHECKING:
    from mmengine.config import Config

    from rs4d.distillation.teacher_cache.images import ImagesToCache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is encoded, by which of several processes, and where it goes."""
    add_config_arguments(parser, 'a config of stage 1')
    add = parser.add_argument
    add('--out', help="folder of the cache (default: the config's teacher_cache)")
    add('--splits', nargs='+', default=['train', 'val'], metavar='SPLIT')
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
    from mmengine.registry import init_default_scope

    from rs4d.distillation.teacher_cache.images import ImagesToCache

    quiet_mmengine()
    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    _complete_options(args, cfg)
    images = ImagesToCache(cfg, args.splits)
    if args.verify:
        _verify(args, images)
        return
    # Slurm ends a job by SIGTERM; what is encoded is then written, as after Ctrl-C.
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _fill(args, cfg, images)
    finally:
        signal.signal(signal.SIGTERM, earlier)


def interrupted(args: argparse.Namespace) -> str:
    """Say what becomes of what was done."""
    return 'The images that were encoded are in the cache; the same command goes on.'


def _complete_options(args: argparse.Namespace, cfg: 'Config') -> None:
    """Fill in what the command line leaves to launcher, config and machine, and check the rest."""
    from rs4d.engine.shares import Share, default_device
    from rs4d.errors import ConfigError

    share = Share.of(args.rank, args.world_size)
    args.rank, args.world_size, args.shows = share.rank, share.world_size, share.shows
    args.out = args.out or cfg.model.get('teacher_cache')
    if not args.out:
        raise ConfigError(
            f"The config '{args.config}' has no model.teacher_cache, so it does not say where the "
            'cache should be. Give a folder by --out.'
        )
    loader = cfg.get('train_dataloader', {})
    if args.batch_size is None:
        args.batch_size = loader.get('batch_size', 1)
    if args.num_workers is None:
        args.num_workers = loader.get('num_workers', 0)
    if args.batch_size < 1 or args.num_workers < 0 or args.images_per_shard < 1:
        raise ConfigError(
            f'--batch-size {args.batch_size}, --num-workers {args.num_workers}, --images-per-shard '
            f'{args.images_per_shard}: batches and shards have at least 1 image, workers may be 0.'
        )
    args.device = args.device or default_device()


def _fill(args: argparse.Namespace, cfg: 'Config', images: 'ImagesToCache') -> None:
    """Say what is left to do, and do this rank's part."""
    import torch
    from mmengine.runner import set_random_seed
    from tqdm import tqdm

    from rs4d.distillation.teacher_cache import (
        KeySet,
        TeacherCacheWriter,
        cached_keys,
        filling,
        hash_keys,
    )

    images.require_repeatable()
    # A teacher without a checkpoint is then the same in every process.
    set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    encoder = filling.TeacherEncoder(cfg, torch.device(args.device), args.dtype)
    ranks, loading = (args.rank, args.world_size), (args.batch_size, args.num_workers)
    folder = Path(args.out)
    with TeacherCacheWriter(folder, *ranks, args.images_per_shard) as writer:
        filling.require_readable(folder, images)
        known = writer.done, KeySet(hash_keys(writer.skipped))
        left, missing = len(images.missing(writer.done)), len(images.missing(*known))
        rows = images.missing(*known, rank=args.rank, world_size=args.world_size)
        if args.shows:
            unread = f' and {left - missing} known to be unreadable' if left > missing else ''
            print(
                f"{len(images)} images, {len(images) - left} of them in the cache '{folder}' already"
                f'{unread}; rank {args.rank} of {args.world_size} encodes {len(rows)}.',
                flush=True,
            )
        with tqdm(total=len(rows), unit='images', disable=not args.shows) as bar:
            for image in filling.fill_cache(rows, images, encoder, writer, *loading):
                bar.update()
                if image.pixels is None:
                    bar.write(f'Skipped: {image.problem}')
    skipped = filling.skipped_of(folder, images)
    missing = len(images.missing(cached_keys(folder), KeySet(hash_keys(skipped))))
    rest = f'; {missing} images are still missing' if missing else ', which is complete'
    if skipped and not missing:
        rest += f' but for {len(skipped)} that could not be read'
    print(f"Rank {args.rank} of {args.world_size} has done its part of '{folder}'{rest}.")


def _verify(args: argparse.Namespace, images: 'ImagesToCache') -> None:
    """Compare the cache with its checksums and with the images of the config."""
    from tqdm import tqdm

    from rs4d.distillation.teacher_cache import (
        KeySet,
        TeacherCacheError,
        cached_keys,
        filling,
        hash_keys,
        verify_cache,
    )
    from rs4d.errors import some

    with tqdm(unit='shards', disable=not args.shows) as bar:

        def show(_: int, total: int) -> None:
            bar.total = total
            bar.update()

        problems = verify_cache(args.out, args.rank, args.world_size, show)
    filling.require_readable(args.out, images)
    cached, skipped = cached_keys(Path(args.out)), filling.skipped_of(args.out, images)
    missing = images.missing(cached, KeySet(hash_keys(skipped)))
    if len(missing):
        names = some([images.key(row) for row in missing[:4]])
        problems.append(f'{len(missing)} of {len(images)} images are missing: {names}.')
    for problem in problems:
        print(problem)
    if problems:
        raise TeacherCacheError(
            f"The teacher cache '{args.out}' has {len(problems)} faults, listed above. Delete the "
            'shards that are named, if any, and run: '
            f'{shlex.join(["rs4d", "cache-teacher", args.config, "--out", args.out])}'
        )
    unread = [key for key in skipped if key not in cached]
    if unread:
        print(
            f'{len(unread)} of {len(images)} images could not be read when the cache was made and '
            f'are not in it: {some(unread)}.'
        )
    print(
        f"The teacher cache '{args.out}' is whole: {len(images) - len(unread)} images, every "
        'checksum is right.'
    )
