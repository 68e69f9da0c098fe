"""Generate remote-sensing-like scenes with exact instance masks, as a COCO data set.

Half of them show bright ships on speckled water, half roofs on the ground. The same seed gives the
same scenes. Example: python tools/dataset_converters/generate_scenes.py work_dirs/demo/scenes
"""

import argparse
import sys
import time
from collections.abc import Sequence

from rs4d.datasets.scenes import ensure_scenes


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out_dir', help='folder to write imgs/ and annotations/ to')
    parser.add_argument('--num-train', type=int, default=1200, help='default: %(default)s')
    parser.add_argument('--num-val', type=int, default=200, help='default: %(default)s')
    parser.add_argument('--size', type=int, default=256, help='pixels, default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument('--overwrite', action='store_true', help='replace scenes of other settings')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the generator.

    Returns:
        0, or 2 with one paragraph on stderr when the scenes cannot be written.
    """
    args = parse_args(argv)
    start = time.perf_counter()
    try:
        files = ensure_scenes(**vars(args))
    except (OSError, ValueError) as error:
        print(f'generate_scenes: {error}', file=sys.stderr)
        return 2
    for file in files:
        print(file)
    print(f'{args.num_train + args.num_val} scenes in {time.perf_counter() - start:.1f} s')
    return 0


if __name__ == '__main__':
    sys.exit(main())
