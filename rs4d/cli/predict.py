"""Predict images and whole scenes: layers of polygons, COCO results, pictures.

An INPUT is an image, a raster, a folder, a glob, a list of paths (.txt) or an address (https://...,
/vsicurl/...). Scenes are read by windows, never as a whole. Start it again after a kill; it goes on.
Several processes may share the work: by --rank and --world-size, torchrun or Slurm.
Example: rs4d predict rs4d::rs4d/rs4d-tiny_light_coco.py latest.pth scene.tif --out found
With - in place of the config, the one is taken that the checkpoint was trained with. A published
model needs neither: rs4d predict FILE.safetensors scene.tif --out found
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import (
    add_config_arguments,
    add_config_options,
    add_window_arguments,
    own_config,
    parsed_options,
    quiet_mmengine,
    window_sizes,
)

if TYPE_CHECKING:
    from rs4d.inference import Predictor
    from rs4d.inference.running import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add model, inputs, and how results are made and written."""
    add_config_arguments(parser, "the config file, or - for the checkpoint's own")
    parser.add_argument('checkpoint', help='the checkpoint file')
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='what is predicted')
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--out', required=True, metavar='DIR', help='folder to write to')
    add(
        '--format',
        nargs='+',
        default=['gpkg'],
        choices=['gpkg', 'fgb', 'parquet', 'geojson', 'coco', 'overlay'],
        help='what is written: layers in the system of the raster (geojson in WGS 84), COCO results, '
        'pictures; default: gpkg',
    )
    add_window_arguments(parser)
    add('--whole', action='store_true', help='predict each input as a whole, in one window')
    add(
        '--simplify',
        type=float,
        default=0.0,
        metavar='PIXELS',
        help='leave out corners of outlines',
    )
    add('--batch-size', type=int, help='windows at once (default: 1 on a CPU, 8 on a GPU)')
    add('--device', help='default: a GPU by local rank, or the CPU')
    add(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'bf16', 'fp16'],
        help='compute in mixed precision, as in a test',
    )
    add('--rank', type=int, help='which of several processes this is, from 0')
    add('--world-size', type=int, help='how many processes there are')
    add('--overwrite', action='store_true', help='start anew, over earlier results')


def complete(words: list[str]) -> list[str]:
    """Put ``-`` in the place of the config before a published model, which holds its own."""
    return own_config(words, 'rs4d predict', add_config_options, _add_options)


def run(args: argparse.Namespace) -> int:
    """Predict, and say what was found and what could not be read."""
    from rs4d import __version__
    from rs4d.engine.shares import Share
    from rs4d.geo.extra import geo_library
    from rs4d.inference.inputs import find_inputs
    from rs4d.inference.outputs import Origin
    from rs4d.inference.running import Options, fingerprint, predict_inputs

    _check(args)
    geo_library('rasterio', 'Predicting')
    geo_library('shapely', 'Predicting')
    share = Share.of(args.rank, args.world_size)
    paths = find_inputs(args.inputs)
    predictor = _predictor(args)
    size, overlap = window_sizes(args, predictor.side)
    options = Options(
        Path(args.out),
        args.format,
        size,
        overlap,
        args.batch_size or (8 if predictor.device.type == 'cuda' else 1),
        args.simplify,
        args.whole,
        args.overwrite,
    )
    name = predictor.cfg.filename or 'of the checkpoint'
    origin = Origin(args.checkpoint, name, __version__)
    settings = fingerprint(args.checkpoint, predictor.cfg.to_dict())
    settings |= dict(score_thr=args.score_thr, dtype=predictor.cfg.get('dtype', 'float32'))
    with _Bar(share.shows) as bar:
        outcome = predict_inputs(
            predictor, paths, options, origin, settings, share, bar.begin, bar.progress
        )
    return _report(outcome, share.shows, args.score_thr)


def interrupted(args: argparse.Namespace) -> str:
    """Say what becomes of what was done."""
    return 'What was found is kept; the same command goes on.'


def _check(args: argparse.Namespace) -> None:
    from rs4d.errors import ConfigError

    for name, least in (('size', 1), ('overlap', 0), ('batch_size', 1), ('simplify', 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: at least {least}.')
    if not 0 <= args.score_thr <= 1:
        raise ConfigError(f'--score-thr {args.score_thr}: from 0 to 1.')


def _predictor(args: argparse.Namespace) -> 'Predictor':
    from rs4d.inference import Predictor

    quiet_mmengine()
    return Predictor(
        None if args.config == '-' else args.config,
        args.checkpoint,
        args.device,
        amp=args.amp,
        score_thr=args.score_thr,
        options=parsed_options(args),
    )


class _Bar:
    """Square kilometres done, and time to go."""

    def __init__(self, shows: bool) -> None:
        self._shows = shows
        self._bar: Any = None
        self._found = 0

    def __enter__(self) -> '_Bar':
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, total: float, done: float) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=done,
            unit='km²',
            disable=not self._shows,
            bar_format='{percentage:3.0f}% |{bar}| {n:.4g} of {total:.4g} km² '
            '[{elapsed}, {remaining} to go{postfix}]',
        )

    def progress(self, scene: object, area: float, objects: int) -> None:
        self._found += objects
        self._bar.set_postfix_str(f'{self._found} objects', refresh=False)
        # Sums of many areas may end a little above the whole.
        self._bar.update(min(area, self._bar.total - self._bar.n))


def _report(outcome: 'Outcome', shows: bool, score_thr: float) -> int:
    sys.stdout.flush()
    for text in (*outcome.warnings, *outcome.failures):
        if shows or outcome.files:
            print(text, file=sys.stderr)
    if outcome.files is None:
        print('This share is done; the process that ends last writes the results.')
    else:
        failed = f'; {len(outcome.failures)} could not be read' if outcome.failures else ''
        print(f'{outcome.objects} objects in {outcome.scenes} inputs{failed}.')
        for file in outcome.files:
            print(file)
        if not outcome.objects and outcome.scenes:
            print(
                f'Nothing has a score of {score_thr:g} or more. --score-thr asks for less, with '
                '--overwrite; if that finds nothing either, the model has to be trained longer.'
            )
    return 1 if outcome.failures else 0
