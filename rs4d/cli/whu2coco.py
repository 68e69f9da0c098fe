"""Make COCO instance annotations from the label TIFFs of the WHU building data set.

Writes ``<root>/annotations/WHU_building_{train,val,test}.json`` for the splits that are there.
Example: python tools/dataset_converters/whu2coco.py data/WHU
"""

import argparse
import sys
from collections.abc import Sequence

from rs4d.datasets.converters import convert_whu
from rs4d.datasets.converters.whu import SPLITS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', help='folder with {train,val,test}/{image,label}/*.tif')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, help='default: those that exist')
    parser.add_argument(
        '--connectivity',
        type=int,
        choices=(4, 8),
        default=8,
        help='8 (default) joins pixels that touch at a corner into one building, 4 does not',
    )
    parser.add_argument(
        '--min-area', type=int, default=1, help='leave out buildings below so many pixels'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace existing annotations')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the converter.

    Returns:
        0, or 2 with one paragraph on stderr when the input is not as it has to be.
    """
    args = parse_args(argv)
    try:
        files = convert_whu(
            args.root, args.splits, args.connectivity, args.min_area, args.overwrite
        )
    except (OSError, ValueError) as error:
        print(f'whu2coco: {error}', file=sys.stderr)
        return 2
    for file in files:
        print(file)
    return 0


if __name__ == '__main__':
    sys.exit(main())
