"""Measure the bands of rasters, and print the lines of a config that load them.

Given are a raster, a folder of them, or a COCO annotation file such as rs4d tile writes, whose images
are measured. Pixels without data are left out; nothing is held in memory as a whole. The lines go into
a config, or are one by themselves with --config: they state the stretch by which values become 0 to
255, so that training and prediction have the same one, and mean and deviation behind it.

Exit code: 0 if every raster was read, 1 if some were not.
Example: rs4d stats data/roofs/train.json --config rs4d::rs4d/rs4d-tiny_light_coco.py --out roofs.py
"""

import argparse

EXIT_FOUND = 1
PERCENTAGES = (0.0, 0.5, 2.0, 50.0, 98.0, 99.5, 100.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is measured and what is written."""
    add = parser.add_argument
    add('source', metavar='SOURCE', help='a raster, a folder of rasters, or an annotation file')
    add('--images', metavar='DIR', help="folder that the annotation file's names start from")
    add(
        '--bands',
        type=int,
        nargs='+',
        metavar='N',
        help='bands and their order, counted from 1; red, green and blue first (default: all)',
    )
    add(
        '--valid',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='what is outside of this range is no data, where files do not say so themselves',
    )
    add(
        '--stretch',
        choices=['linear', 'db', 'statistics'],
        help='how values become 0 to 255 (default: bytes as they are, others linear)',
    )
    add(
        '--percentiles',
        type=float,
        nargs=2,
        default=(0.5, 99.5),
        metavar=('LOW', 'HIGH'),
        help='what is black and what is white, in percent, default: 0.5 99.5',
    )
    add('--amplitude', action='store_true', help='decibels are of amplitudes, not of powers')
    add('--config', metavar='CONFIG', help='a config that the lines change')
    add('--out', metavar='FILE', help='also write the lines to this file')
    add('--overwrite', action='store_true', help='replace the file if it is there')


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    from rs4d.datasets.raster_statistics import measure, settings, snippet
    from rs4d.errors import ConfigError
    from rs4d.files import refuse_existing, write_text

    low, high = args.percentiles
    if not 0 <= low < high <= 100:
        raise ConfigError(f'--percentiles {low} {high}: the first is below the second, 0 to 100.')
    if args.out and not args.overwrite:
        refuse_existing(args.out)
    valid_range = None if args.valid is None else (args.valid[0], args.valid[1])
    measured = measure(args.source, args.images, args.bands, valid_range)
    stated = settings(measured, args.stretch, (low, high), args.amplitude)
    text = snippet(measured, stated, args.config)
    statistics = measured.statistics
    names = ['mean', 'std', *(f'{percent:g} %' for percent in PERCENTAGES)]
    rows = [statistics.mean, statistics.std, *statistics.percentiles(list(PERCENTAGES))]
    print('band' + ''.join(f'{name:>12}' for name in names))
    for number, band in enumerate(measured.bands):
        print(f'{band:4}' + ''.join(f'{row[number]:12.6g}' for row in rows))
    print(f'\n{text}', end='')
    if args.out:
        write_text(args.out, text)
        print(f'\nWrote {args.out}')
    for failure in measured.failures:
        print(f'not measured: {failure}')
    return EXIT_FOUND if measured.failures else 0
