"""Cut rasters into tiles with COCO annotations from a layer of polygons.

The layer is a GeoPackage, GeoJSON, Shapefile, FlatGeobuf or what else GDAL reads, in any coordinate
system. Tiles are GeoTIFFs with the bands, type, nodata and place of their raster, in DIR/images;
DIR/train.json and DIR/val.json are divided by blocks, with a guard band between them.
Example: rs4d tile scene.tif --labels roofs.gpkg --class-field kind --out data/roofs
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add scenes, labels, and how they are cut and divided."""
    add = parser.add_argument
    add('scenes', nargs='+', metavar='SCENE', help='rasters')
    add('--labels', required=True, metavar='LAYER', help='file with the polygons')
    add('--out', required=True, metavar='DIR', help='folder to write to')
    add('--layer', help='which layer of the file, if it has several')
    add('--class-field', metavar='F', help="field with the class; without it all are 'object'")
    add('--default-class', metavar='NAME', help='class of features whose field is empty')
    add('--classes', nargs='+', metavar='NAME', help='classes and their order (default: by name)')
    add(
        '--labels-crs',
        metavar='CRS',
        help="the layer's coordinate system, in place of the one it declares: EPSG:32633, WKT, or "
        "'raster' for that of the rasters",
    )
    add('--size', type=int, default=512, help='side of a tile in pixels, default: %(default)s')
    add('--overlap', type=int, default=64, help='pixels neighbours share, default: %(default)s')
    add(
        '--min-visible',
        type=float,
        default=0.3,
        metavar='SHARE',
        help='share of an object below which a piece of it is iscrowd, default: %(default)s',
    )
    add(
        '--empty',
        type=float,
        default=0.1,
        metavar='SHARE',
        help='share of the tiles without objects that is kept, default: %(default)s',
    )
    add(
        '--val',
        type=float,
        default=0.2,
        metavar='SHARE',
        help='share of the tiles with objects for val.json, 0 for none, default: %(default)s',
    )
    add('--block', type=int, help='side in pixels of the blocks that are divided')
    add('--guard', type=int, help='pixels between train and val (default: --overlap)')
    add('--seed', type=int, default=0, help='default: %(default)s')
    add('--overwrite', action='store_true', help='replace annotation files that are there')


def run(args: argparse.Namespace) -> None:
    """Cut and say what was written and what was left out."""
    from rs4d.datasets.tiling.plan import SplitOptions
    from rs4d.datasets.tiling.tiler import TilingOptions, tile
    from rs4d.geo.layers import read_layer

    _check(args)
    layer = read_layer(
        args.labels, args.layer, args.class_field, args.labels_crs, args.default_class
    )
    guard = args.overlap if args.guard is None else args.guard
    split = SplitOptions(args.val, args.block, guard, args.empty, args.seed)
    options = TilingOptions(args.size, args.overlap, args.min_visible, split, args.classes or ())
    done = tile(args.scenes, layer, args.out, options, args.overwrite)
    for split_name, file in done.files.items():
        print(f'{file}: ' + _listed(done.counts[split_name]))
    for scene, left_out in done.left_out.items():
        if left_out:
            print(f'{scene}: features ' + _listed(left_out))
    print(f'classes: {", ".join(done.classes)}')


def _check(args: argparse.Namespace) -> None:
    from rs4d.errors import ConfigError

    for name in ('min_visible', 'empty', 'val'):
        if not 0 <= getattr(args, name) <= 1 or (name == 'val' and args.val == 1):
            raise ConfigError(f'--{name.replace("_", "-")} {getattr(args, name)}: a share of 1.')
    if not 0 <= args.overlap < args.size or (args.guard or 0) < 0:
        raise ConfigError(
            f'--size {args.size} --overlap {args.overlap}: the overlap is at least 0 and below the '
            'size, the guard at least 0.'
        )
    if args.block is not None and args.block <= 0:
        raise ConfigError(f'--block {args.block}: at least one pixel.')


def _listed(counts: dict[str, int]) -> str:
    return ', '.join(f'{count} {what}' for what, count in counts.items() if count) or 'nothing'
