"""Generate remote-sensing-like scenes with exact instance masks, as a COCO data set.

Half of them show bright ships on speckled water, half roofs on the ground. The same seed gives the
same scenes. Example: rs4d generate-scenes work_dirs/demo/scenes
"""

import argparse
import time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many scenes of which kind go where."""
    add = parser.add_argument
    add('out_dir', help='folder to write imgs/ and annotations/ to')
    add('--num-train', type=int, default=1200, help='default: %(default)s')
    add('--num-val', type=int, default=200, help='default: %(default)s')
    add('--size', type=int, default=256, help='pixels, default: %(default)s')
    add('--seed', type=int, default=0, help='default: %(default)s')
    add(
        '--mosaic',
        type=int,
        metavar='SIDE',
        help='instead of a set, one georeferenced scene of so many pixels a side, scene.tif, and its '
        'objects, truth.gpkg',
    )
    add('--bits', type=int, default=8, choices=[8, 16], help='of the mosaic, default: %(default)s')
    add('--overwrite', action='store_true', help='replace scenes of other settings')


def run(args: argparse.Namespace) -> None:
    """Generate and print what was written."""
    from rs4d.datasets.scenes import ensure_scenes

    start = time.perf_counter()
    if args.mosaic is not None:
        from rs4d.datasets.scenes.mosaic import write_mosaic

        words = (args.mosaic, args.seed, args.overwrite, args.bits)
        for file in write_mosaic(args.out_dir, *words):
            print(file)
        print(f'{time.perf_counter() - start:.1f} s')
        return
    sizes = dict(num_train=args.num_train, num_val=args.num_val, size=args.size)
    for file in ensure_scenes(args.out_dir, **sizes, seed=args.seed, overwrite=args.overwrite):
        print(file)
    print(f'{args.num_train + args.num_val} scenes in {time.perf_counter() - start:.1f} s')
