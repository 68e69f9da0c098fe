"""Turn COCO annotations or results of georeferenced images back into a layer of polygons.

Objects that lie in several tiles are joined. The ending of --out says the format: .gpkg, .fgb,
.parquet in the images' own coordinate system, .geojson in WGS 84.
Example: rs4d vectorize data/roofs/train.json data/roofs/val.json --images data/roofs --out roofs.gpkg
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is read and where it goes."""
    add = parser.add_argument
    add('files', nargs='+', metavar='FILE', help='COCO annotation files, or results of a test')
    add('--images', required=True, metavar='DIR', help="folder that the images' names start from")
    add('--out', required=True, metavar='LAYER', help='the file to write')
    add('--annotations', metavar='FILE', help='the annotation file that results speak of')
    add('--min-score', type=float, default=0.0, help='results below are left out')
    add('--no-join', action='store_true', help='leave the pieces in tiles as they are')
    add('--overwrite', action='store_true', help='replace a layer that is there')


def run(args: argparse.Namespace) -> None:
    """Write the layer and say how many objects it has."""
    from rs4d.datasets.tiling.vectorizer import vectorize
    from rs4d.files import refuse_existing

    if not args.overwrite:
        refuse_existing(args.out)
    count = vectorize(
        args.files, args.images, args.out, args.annotations, args.min_score, not args.no_join
    )
    print(f'{args.out}: {count} objects')
