"""Compare how fast images are read: from tar shards, from files, and without reduced decoding.

The images of a folder are copied to a temporary folder, once as files and once in a tar, and read by
the pipeline of stage 1 (load, resize, pad) in the worker processes of a data loader. All ways take
turns, and ratios are taken round by round, so that a busy machine disturbs them alike. What is read
lies in the system's cache of files, so that not the disk is measured but the reading. Decoding alone
is timed in one process, too, with the bound that a JPEG's entropy coding sets, which no reduction
avoids: decoding at 1/8.

A result is printed and written as JSON and as a Markdown table.
Example: python tools/analysis_tools/benchmark_reading.py data/SA1B --out work_dirs/reading
"""

import argparse
import functools
import json
import platform
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

import rs4d
from rs4d.analysis.benchmark import interleave, ratio, spread
from rs4d.analysis.benchmark.report import with_spread
from rs4d.cli.common import run_tool
from rs4d.datasets.image_listing import list_images
from rs4d.datasets.image_reading import decode
from rs4d.errors import SetupError

EXTENSIONS = ('.jpg', '.jpeg')
SHARD = 'sa_000000'
# Which ratios answer a question: name, numerator and denominator in images a second.
RATIOS = (
    ('tar / files', 'tar', 'files'),
    ('tar / files, full decode', 'tar, full decode', 'files, full decode'),
    ('reduced / full decode', 'files', 'files, full decode'),
    ('reduced / full decode, tar', 'tar', 'tar, full decode'),
    ("tar / files, MMDetection's transforms", 'tar', "files, MMDetection's transforms"),
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', help='a folder of JPEGs, nested or not')
    parser.add_argument('--image-size', type=int, default=1024, help='side of the padded image')
    parser.add_argument('--num-images', type=int, default=96, help='a round; images are repeated')
    parser.add_argument('--num-workers', type=int, default=2, help='of the data loader')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=9, help='turns of each way')
    parser.add_argument('--out', type=Path, help='folder for reading.json and reading.md')
    args = parser.parse_args(argv)
    for name in ('image_size', 'num_images', 'batch_size', 'rounds'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} is at least 1')
    if args.num_workers < 0:
        parser.error('--num-workers is at least 0')
    return args


def copy_images(images: Sequence[str], count: int, folder: Path) -> tuple[Path, Path]:
    """Copy images to files and into a tar.

    Args:
        images: Paths, repeated until there are ``count``.
        count: How many.
        folder: Where to.

    Returns:
        The root with the extracted shard and that with the tar.
    """
    files, tars = folder / 'files', folder / 'tars'
    (files / SHARD).mkdir(parents=True)
    tars.mkdir()
    for number in range(count):
        source = images[number % len(images)]
        shutil.copyfile(source, files / SHARD / f'sa_{number}{Path(source).suffix.lower()}')
    with tarfile.open(tars / f'{SHARD}.tar', 'w') as archive:
        for file in sorted((files / SHARD).iterdir()):
            archive.add(file, f'./{file.name}')
    return files, tars


def make_loader(args: argparse.Namespace, root: Path, way: str) -> DataLoader:
    """Build a loader with stage 1's pipeline, or with MMDetection's own transforms."""
    side = args.image_size
    resize = dict(type='Resize', scale=(side, side), keep_ratio=True)
    if way == 'plain':
        pipeline = [
            dict(type='LoadImageFromFile'),
            resize,
            dict(type='Pad', size=(side, side)),
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'img_shape')),
        ]
    else:
        pipeline = [
            dict(type='LoadImage', scale=(side, side) if way == 'reduced' else None),
            resize,
            dict(type='PadKeepingShape', size=(side, side)),
            dict(type='PackDistillInputs', meta_keys=('img_id', 'img_path', 'img_shape')),
        ]
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


def read_all(loader: DataLoader) -> int:
    """Read all images and return how many there were."""
    return sum(len(batch['inputs']) for batch in loader)


def measure_reading(args: argparse.Namespace, images: Sequence[str]) -> dict[str, list[float]]:
    """Time whole passes of a data loader and return images a second of each round."""
    with tempfile.TemporaryDirectory(prefix='rs4d_reading_') as folder:
        files, tars = copy_images(images, args.num_images, Path(folder))
        loaders = {
            'tar': make_loader(args, tars, 'reduced'),
            'files': make_loader(args, files, 'reduced'),
            'tar, full decode': make_loader(args, tars, 'full'),
            'files, full decode': make_loader(args, files, 'full'),
            "files, MMDetection's transforms": make_loader(args, files, 'plain'),
        }
        for name, loader in loaders.items():
            found = read_all(loader)
            if found != args.num_images:
                raise SetupError(
                    f"The way '{name}' reads {found} of {args.num_images} images; is one of "
                    f"'{args.images}' broken?"
                )
        passes: dict[str, Callable[[], object]] = {
            name: functools.partial(read_all, loader) for name, loader in loaders.items()
        }
        seconds = interleave(passes, args.rounds, warmup=0)
    return {name: [args.num_images / s for s in samples] for name, samples in seconds.items()}


def for_each(items: Sequence[bytes], function: Callable[[bytes], object]) -> None:
    """Call a function and keep nothing: results that pile up would be measured as page faults."""
    for item in items:
        function(item)


def measure_decoding(args: argparse.Namespace, images: Sequence[str]) -> dict[str, list[float]]:
    """Time decoding alone, in this process, and return images a second of each round."""
    data = [Path(path).read_bytes() for path in images[: args.num_images]]
    scale = (args.image_size, args.image_size)
    ways: dict[str, Callable[[], object]] = {
        'reduced': lambda: for_each(data, lambda item: decode(item, 'a file', scale)),
        'full': lambda: for_each(data, lambda item: decode(item, 'a file')),
        'at 1/8': lambda: for_each(
            data,
            lambda item: cv2.imdecode(np.frombuffer(item, np.uint8), cv2.IMREAD_REDUCED_COLOR_8),
        ),
    }
    seconds = interleave(ways, args.rounds)
    return {name: [len(data) / s for s in samples] for name, samples in seconds.items()}


def make_report(
    args: argparse.Namespace,
    reading: dict[str, list[float]],
    decoding: dict[str, list[float]],
) -> str:
    """Say in Markdown what was measured."""
    lines = [
        f'{args.num_images} images a round, {args.rounds} rounds, {args.num_workers} workers, '
        f'{args.image_size}x{args.image_size}. Medians with quartiles.',
        '',
        '| read, resized and padded | images a second |',
        '|---|---|',
    ]
    lines += [f'| {name} | {with_spread(spread(rates))} |' for name, rates in reading.items()]
    lines += ['', '| ratio | |', '|---|---|']
    lines += [f'| {name} | {with_spread(ratio(reading[a], reading[b]))} |' for name, a, b in RATIOS]
    lines += ['', '| decoded only, one process | images a second | times full |', '|---|---|---|']
    lines += [
        f'| {name} | {with_spread(spread(rates))} | {with_spread(ratio(rates, decoding["full"]))} |'
        for name, rates in decoding.items()
    ]
    return '\n'.join(lines)


def conditions() -> dict[str, Any]:
    """Say with what a result was made."""
    return dict(
        command=' '.join(['python', *sys.argv]),
        python=platform.python_version(),
        opencv=cv2.__version__,
        torch=torch.__version__,
        rs4d=rs4d.__version__,
    )


def benchmark(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    images = [image['img_path'] for image in list_images(args.images, EXTENSIONS)]
    if any('.tar/' in path for path in images):
        raise SetupError(
            f"'{args.images}' has tars in it. Give a folder of extracted JPEGs; the benchmark makes "
            'a tar of them itself.'
        )
    init_default_scope('mmdet')
    # Workers are what runs side by side, as in training.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    reading = measure_reading(args, images)
    decoding = measure_decoding(args, images)
    report = make_report(args, reading, decoding)
    print(report)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        content = dict(conditions=conditions(), reading=reading, decoding=decoding)
        (args.out / 'reading.json').write_text(json.dumps(content, indent=2) + '\n')
        (args.out / 'reading.md').write_text(report + '\n')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('benchmark_reading', lambda: benchmark(args))


if __name__ == '__main__':
    sys.exit(main())
