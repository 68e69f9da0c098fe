"""Divide a COCO annotation file into train.json, val.json and test.json.

Images that are the same by name, bytes, pixels or looks stay together; every class gets its share
on every side, rare ones first. Images whose place is known (tiles of rs4d tile, georeferenced
rasters) are divided by blocks of neighbours, so that no side sees the ground of another.
Example: rs4d split labels.json --images photos --out mine --val 0.2
"""

import argparse
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rs4d.datasets.splitting import Divided


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is divided, how, and where it goes."""
    add = parser.add_argument
    add('annotations', metavar='ANNOTATIONS', help='COCO annotation file')
    add('--out', required=True, metavar='DIR', help='folder to write to')
    add('--val', type=float, default=0.2, metavar='SHARE', help='of images, default: %(default)s')
    add('--test', type=float, default=0.0, metavar='SHARE', help='of images, default: none')
    add(
        '--by',
        choices=['random', 'blocks'],
        help='default: blocks if the place of all images is known, else random',
    )
    add('--block', type=int, help='side of a block in pixels (default: one to four images)')
    add('--guard', type=int, default=0, help='pixels between sides, default: no common ground')
    add(
        '--images',
        metavar='DIR',
        help="folder of the images (default: found near the annotations')",
    )
    add('--no-images', action='store_true', help='compare images by their names alone')
    add('--seed', type=int, default=0, help='default: %(default)s')
    add('--overwrite', action='store_true', help='replace annotation files that are there')


def run(args: argparse.Namespace) -> None:
    """Divide and say what is where."""
    from pathlib import Path

    from rs4d.datasets.own_data import find_images
    from rs4d.datasets.splitting import Division, split_annotations
    from rs4d.errors import ConfigError

    if (args.block is not None and args.block < 1) or args.guard < 0:
        raise ConfigError('--block is at least one pixel, --guard at least 0.')
    images = args.images
    if images is None and not args.no_images:
        images = find_images(
            args.annotations, None, '--images DIR, or leave them out by --no-images'
        )
    elif images is not None and not Path(images).is_dir():
        raise ConfigError(f"--images '{images}' is no folder. Name that of the images.")
    division = Division(args.val, args.test, args.by, args.block, args.guard, args.seed)
    _report(split_annotations(args.annotations, args.out, images, division, args.overwrite), images)


def _report(done: 'Divided', images: str | None) -> None:
    print(f'divided by {"blocks" if done.by == "blocks" else "chance"}')
    for side, file in done.files.items():
        counts = ', '.join(
            f'{count} {name}' for name, count in sorted(done.instances[side].items())
        )
        print(f'{file}: {done.images[side]} images, {counts or "no objects"}')
    if done.copies:
        print(f'{done.copies} images are copies of others, and on the same side')
    if done.left_out:
        print(f'{done.left_out} images are on no side: they show, or come near, what another does')
    if done.one_sided:
        print(f'not on every side, as too few images have them: {", ".join(done.one_sided)}')
    if images is not None and 'val' in done.files:
        folder = done.files['train'].parent
        words = ['rs4d', 'train', 'rs4d::rs4d/rs4d-tiny_light_coco.py', '--data', str(folder)]
        print(f'train with: {shlex.join([*words, "--images", str(images)])}')
