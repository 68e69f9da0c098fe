"""How fast images are read: out of tar shards, out of files, and without reduced decoding."""

import argparse
import functools
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rs4d.datasets.image_listing import list_images
from rs4d.errors import SetupError
from rs4d.files import write_json, write_text

from .report import with_spread
from .timing import interleave, ratio, spread

_SHARD = 'sa_000000'
# Which ratios answer a question: name, numerator and denominator in images a second.
RATIOS = (
    ('tar / files', 'tar', 'files'),
    ('reduced / full decode', 'files', 'files, full decode'),
    ("files / files, MMDetection's transforms", 'files', "files, MMDetection's transforms"),
)


def compare_reading(args: argparse.Namespace) -> None:
    """Time passes of a data loader over the same images; print and write a table.

    Args:
        args: The command line of ``rs4d benchmark reading``.

    Raises:
        SetupError: The folder has tars in it, a number makes no sense, or an image does not read.
    """
    if min(args.image_size, args.num_images, args.batch_size, args.rounds) < 1:
        raise SetupError('--image-size, --num-images, --batch-size and --rounds are at least 1.')
    images = [image['img_path'] for image in list_images(args.images, ('.jpg', '.jpeg'))]
    if any('.tar/' in path for path in images):
        raise SetupError(
            f"'{args.images}' has tars in it. Give a folder of extracted JPEGs; the benchmark makes "
            'a tar of them itself.'
        )
    init_default_scope('mmdet')
    # Workers are what runs side by side, as in training.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rates = _measure(args, images)
    report = _table(args, rates)
    print(report)
    if args.out is not None:
        write_json(args.out / 'reading.json', rates, indent=2)
        write_text(args.out / 'reading.md', report + '\n')


def _measure(args: argparse.Namespace, images: Sequence[str]) -> dict[str, list[float]]:
    """Return images a second of each round, by the way of reading."""
    with tempfile.TemporaryDirectory(prefix='rs4d_reading_') as folder:
        files, tars = _copy(images, args.num_images, Path(folder))
        loaders = {
            'tar': _loader(args, tars, 'reduced'),
            'files': _loader(args, files, 'reduced'),
            'files, full decode': _loader(args, files, 'full'),
            "files, MMDetection's transforms": _loader(args, files, 'plain'),
        }
        for name, loader in loaders.items():
            if (found := _read_all(loader)) != args.num_images:
                raise SetupError(
                    f"The way '{name}' reads {found} of {args.num_images} images; is one of "
                    f"'{args.images}' broken?"
                )
        passes: dict[str, Callable[[], object]] = {
            name: functools.partial(_read_all, loader) for name, loader in loaders.items()
        }
        seconds = interleave(passes, args.rounds, warmup=0)
    return {name: [args.num_images / s for s in samples] for name, samples in seconds.items()}


def _copy(images: Sequence[str], count: int, folder: Path) -> tuple[Path, Path]:
    """Copy images, repeated until there are enough, to files and into a tar."""
    files, tars = folder / 'files', folder / 'tars'
    (files / _SHARD).mkdir(parents=True)
    tars.mkdir()
    for number in range(count):
        source = images[number % len(images)]
        shutil.copyfile(source, files / _SHARD / f'sa_{number}{Path(source).suffix.lower()}')
    with tarfile.open(tars / f'{_SHARD}.tar', 'w') as archive:
        for file in sorted((files / _SHARD).iterdir()):
            archive.add(file, f'./{file.name}')
    return files, tars


def _loader(args: argparse.Namespace, root: Path, way: str) -> DataLoader:
    """Build a loader with stage 1's pipeline, or with MMDetection's own transforms."""
    size = (args.image_size, args.image_size)
    resize = dict(type='Resize', scale=size, keep_ratio=True)
    keys = ('img_id', 'img_path', 'img_shape')
    load: dict[str, Any]
    if way == 'plain':
        load, pad, pack = dict(type='LoadImageFromFile'), 'Pad', 'PackDetInputs'
    else:
        load = dict(type='LoadImage', scale=size if way == 'reduced' else None)
        pad, pack = 'PadKeepingShape', 'PackDistillInputs'
    pipeline = [load, resize, dict(type=pad, size=size), dict(type=pack, meta_keys=keys)]
    return Runner.build_dataloader(
        dict(
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            persistent_workers=args.num_workers > 0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='SA1BDataset', data_root=str(root), pipeline=pipeline),
        ),
        seed=0,
    )


def _read_all(loader: DataLoader) -> int:
    return sum(len(batch['inputs']) for batch in loader)


def _table(args: argparse.Namespace, rates: dict[str, list[float]]) -> str:
    lines = [
        f'{args.num_images} images a round, {args.rounds} rounds, {args.num_workers} workers, '
        f'{args.image_size}x{args.image_size}. Medians with quartiles.',
        '',
        '| read, resized and padded | images a second |',
        '|---|---|',
        *(f'| {name} | {with_spread(spread(samples))} |' for name, samples in rates.items()),
        '',
        '| ratio | |',
        '|---|---|',
        *(f'| {name} | {with_spread(ratio(rates[a], rates[b]))} |' for name, a, b in RATIOS),
    ]
    return '\n'.join(lines)
