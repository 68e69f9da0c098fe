"""Running the teacher of stage 1 once over the images, and keeping its embeddings on disk."""

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from torch.utils.data import DataLoader, Subset

from rs4d.errors import SetupError

from . import (
    CacheHeader,
    TeacherCacheError,
    TeacherCacheWriter,
    rank_of,
    read_skipped,
    some_names,
    too_many_skipped,
    verify_cache,
)
from .filling import (
    ImagesToCache,
    LoadedImage,
    TeacherEncoder,
    require_size,
)
from .index import done_keys

GIB = 2**30


def _from_launcher(given: int | None, names: Sequence[str], default: int) -> int:
    found = [os.environ[name] for name in names if name in os.environ]
    return given if given is not None else int(found[0]) if found else default


def cache_teacher(cfg: Config, args: argparse.Namespace) -> None:
    """Check, estimate, encode; or verify.

    Args:
        cfg: A config of stage 1.
        args: The command line of `rs4d cache-teacher`; what it leaves open is filled in.
    """
    # Ranks of a launcher write into one terminal or file; those by hand have one each.
    args.shows = args.rank is not None or _from_launcher(None, ('RANK', 'SLURM_PROCID'), 0) == 0
    args.rank = _from_launcher(args.rank, ('RANK', 'SLURM_PROCID'), 0)
    args.world_size = _from_launcher(args.world_size, ('WORLD_SIZE', 'SLURM_NTASKS'), 1)
    # Without a log file, MMEngine would print a paragraph on each of the teacher's parameters.
    MMLogger.get_instance('cache_teacher', log_level='WARNING')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    args.out = args.out or cfg.model.get('teacher_cache')
    complete_options(args, cfg)
    images = ImagesToCache(cfg, args.splits)
    if args.verify:
        verify(args, images)
        return
    images.require_repeatable()
    # A teacher without a checkpoint is then the same in every process.
    set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    encoder = TeacherEncoder(cfg, torch.device(args.device), args.dtype)
    if args.dry_run:
        done = done_keys(Path(args.out))
        estimate = Estimate(args, images, encoder, done, read_skipped(args.out))
        if args.shows:
            estimate.report()
        return
    writer = TeacherCacheWriter(args.out, args.rank, args.world_size, args.images_per_shard)
    try:
        require_readable(args, images)
        estimate = Estimate(args, images, encoder, writer.done, writer.skipped)
        if args.shows:
            estimate.report()
        estimate.require_space()
        encode(args, images, estimate, encoder, writer)
    finally:
        writer.close()
    skipped = skipped_of(args, images)
    missing = len(set(images.keys) - done_keys(Path(args.out)) - set(skipped))
    rest = f'; {missing} images are still missing' if missing else ', which is complete'
    if skipped:
        rest += f' but for {len(skipped)} that could not be read' if not missing else ''
    print(f"Rank {args.rank} of {args.world_size} has done its part of '{args.out}'{rest}.")


def complete_options(args: argparse.Namespace, cfg: Config) -> None:
    """Fill in what the command line leaves to the config and the machine, and check the rest."""
    if not args.out:
        raise SetupError(
            f"The config '{args.config}' has no model.teacher_cache, so it does not say where the "
            'cache should be. Give a folder by --out.'
        )
    if not 0 <= args.rank < args.world_size:
        raise SetupError(
            f'--rank {args.rank} --world-size {args.world_size}: ranks are counted from 0 to one '
            'less than the world size.'
        )
    loader = cfg.get('train_dataloader', {})
    if args.batch_size is None:
        args.batch_size = loader.get('batch_size', 1)
    if args.num_workers is None:
        args.num_workers = loader.get('num_workers', 0)
    if args.batch_size < 1 or args.num_workers < 0 or args.images_per_shard < 1:
        raise SetupError(
            f'--batch-size {args.batch_size}, --num-workers {args.num_workers}, --images-per-shard '
            f'{args.images_per_shard}: batches and shards have at least 1 image, workers may be 0.'
        )
    if args.device is None:
        local = int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0)))
        count = torch.cuda.device_count()
        args.device = f'cuda:{local % count}' if count else 'cpu'


def skipped_of(args: argparse.Namespace, images: ImagesToCache) -> dict[str, str]:
    """Read which of the config's images could not be read, by any rank so far, and why."""
    return {key: why for key, why in read_skipped(args.out).items() if key in images}


def require_readable(args: argparse.Namespace, images: ImagesToCache) -> None:
    """Raise if too many images could not be read."""
    problem = too_many_skipped(skipped_of(args, images), len(images))
    if problem is not None:
        raise TeacherCacheError(f"The teacher cache '{args.out}': {problem}")


class Estimate:
    """What is left to do, and what it will take.

    Args:
        args: The command line.
        images: All images.
        encoder: The teacher.
        done: Keys of the images that are in the cache.
        skipped: Of those that are known to be unreadable.

    Attributes:
        mine: Indices of the images that this rank has to encode.
        header: What the cache will be of; None if this rank has nothing to encode.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        images: ImagesToCache,
        encoder: TeacherEncoder,
        done: Collection[str],
        skipped: Collection[str],
    ) -> None:
        self.args = args
        self.total = len(images)
        self.done = sum(key in done for key in images.keys)
        missing = [i for i, key in enumerate(images.keys) if key not in done and key not in skipped]
        self.missing = len(missing)
        self.mine = [i for i in missing if rank_of(images.keys[i], args.world_size) == args.rank]
        self.header: CacheHeader | None = None
        self.seconds = 0.0
        sample: list[LoadedImage] = []
        start = time.perf_counter()
        for index in self.mine:
            image = images[index]
            sample += [image] if image.pixels is not None else []
            if len(sample) == args.batch_size:
                break
        loading = (time.perf_counter() - start) / max(len(sample), 1)
        if sample:
            self.header = encoder.header(images.pipeline, sample[0])
            start = time.perf_counter()
            encoder(sample)
            encoding = (time.perf_counter() - start) / len(sample)
            workers = args.num_workers
            each = max(encoding, loading / workers) if workers else encoding + loading
            self.seconds = each * len(self.mine)

    @property
    def bytes(self) -> int:
        """Disk for what is missing, of all ranks."""
        return self.missing * self.header.bytes_per_image if self.header else 0

    def report(self) -> None:
        """Print the estimate."""
        args = self.args
        skipped = self.total - self.done - self.missing
        unread = f' and {skipped} known to be unreadable' if skipped else ''
        print(
            f"{self.total} images, {self.done} of them in the cache '{args.out}' already{unread}; "
            f'rank {args.rank} of {args.world_size} encodes {len(self.mine)}.'
        )
        if self.header is None:
            return
        maps = ', '.join(
            f'{name} {"x".join(map(str, shape))}' for name, shape in self.header.maps.items()
        )
        print(f'Maps: {maps}; {self.header.bytes_per_image / 2**20:.3f} MiB an image.')
        print(
            f'Disk: {self.bytes / GIB:.3f} GiB for the {self.missing} missing images of all ranks, '
            f'{free_space(args.out) / GIB:.1f} GiB free.'
        )
        rate = len(self.mine) / self.seconds if self.seconds else 0
        print(
            f'Time: about {duration(self.seconds)} for this rank ({rate:.2f} images/s).', flush=True
        )

    def require_space(self) -> None:
        """Raise if the disk is too small."""
        free = free_space(self.args.out)
        if self.bytes > free:
            raise TeacherCacheError(
                f'The missing embeddings take {self.bytes / GIB:.2f} GiB and the disk of '
                f"'{self.args.out}' has {free / GIB:.2f} GiB free. Choose another --out, or a smaller "
                'part of the data set (fraction of SA1BDataset).'
            )


def encode(
    args: argparse.Namespace,
    images: ImagesToCache,
    estimate: Estimate,
    encoder: TeacherEncoder,
    writer: TeacherCacheWriter,
) -> None:
    """Encode images and write them; what is ready is also written when interrupted."""
    header = estimate.header
    if header is not None:
        writer.start(header)
    loader = DataLoader(
        Subset(images, estimate.mine),
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        collate_fn=list,
    )
    batches: Iterable[list[LoadedImage]] = loader
    if args.shows:
        batches = progress(loader, len(estimate.mine), args.batch_size)
    try:
        for batch in batches:
            whole = [image for image in batch if image.pixels is not None]
            if whole and header is None:
                # Those of the estimate could not be read.
                header = encoder.header(images.pipeline, whole[0])
                writer.start(header)
            for image in whole:
                require_size(image, cast(CacheHeader, header).image_size)
            if whole:
                for image, maps in zip(whole, encoder(whole), strict=True):
                    writer.add(image.key, maps, image.img_shape)
            for image in batch:
                if image.pixels is None:
                    print(f'\nSkipped: {image.problem}', flush=True)
                    writer.skip(image.key, image.problem)
            if len(whole) < len(batch):
                require_readable(args, images)
    finally:
        # Whatever stopped it, these images are encoded.
        writer.flush()


def progress(
    loader: DataLoader, total: int, batch_size: int, width: int = 30
) -> Iterator[list[LoadedImage]]:
    """Pass batches on, and show a bar in a terminal or some lines elsewhere."""
    terminal = sys.stdout.isatty()
    start = shown = time.monotonic()
    for number, batch in enumerate(loader):
        yield batch
        now, count = time.monotonic(), min((number + 1) * batch_size, total)
        if count < total and now - shown < (0.2 if terminal else 30):
            continue
        shown = now
        rate = count / max(now - start, 1e-9)
        text = f'{count}/{total} images, {rate:.2f}/s, {duration((total - count) / rate)} to go'
        if terminal:
            bar = '#' * (width * count // total)
            end = '\n' if count == total else ''
            print(f'\r[{bar:<{width}}] {text}   ', end=end, flush=True)
        else:
            print(text, flush=True)


def verify(args: argparse.Namespace, images: ImagesToCache) -> None:
    """Compare the cache with its checksums and with the images of the config."""

    def show(number: int, total: int) -> None:
        if args.shows and (number == total or (sys.stdout.isatty() and number % 10 == 0)):
            print(f'{number}/{total} shards', flush=True)

    problems = verify_cache(args.out, images.keys, args.rank, args.world_size, show)
    for problem in problems:
        print(problem)
    if problems:
        raise TeacherCacheError(
            f"The teacher cache '{args.out}' has {len(problems)} faults, listed above. Delete the "
            f'shards that are named, if any, and run: '
            f'{shlex.join(["rs4d", "cache-teacher", args.config, "--out", args.out])}'
        )
    skipped = set(skipped_of(args, images)) - done_keys(Path(args.out))
    if skipped:
        print(
            f'{len(skipped)} of {len(images)} images could not be read when the cache was made and '
            f'are not in it: {some_names(sorted(skipped))}.'
        )
    print(
        f"The teacher cache '{args.out}' is whole: {len(images) - len(skipped)} images, every "
        'checksum is right.'
    )


def free_space(folder: str) -> int:
    """Free bytes on the disk that a folder is or will be on."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def duration(seconds: float) -> str:
    """Seconds in words."""
    minutes = seconds / 60
    if seconds < 100:
        return f'{seconds:.0f} s'
    return f'{minutes:.0f} min' if minutes < 100 else f'{minutes / 60:.1f} h'
