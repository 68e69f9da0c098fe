"""Measure speed and memory, of detectors, of whole scenes, of encoders and of the scan's engines.

Candidates take turns, and ratios are taken round by round, so that a busy machine disturbs all of
them alike. `rs4d benchmark KIND --help` says what a kind takes; `rs4d benchmark --models CONFIG ...`
is another way to write `rs4d benchmark models CONFIG ...`.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .common import (
    add_config_arguments,
    add_window_arguments,
    parsed_options,
    quiet_mmengine,
    window_sizes,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one parser for each kind."""
    kinds = parser.add_subparsers(metavar='KIND', required=True)
    add_kind: Callable[[argparse.ArgumentParser], None]
    for name, text, add_kind, work in (
        ('models', 'time and memory of whole detectors, by parts', _model_arguments, _models),
        ('scenes', 'predicting whole scenes, against the model alone', _scene_arguments, _scenes),
        ('encoders', 'time, memory and multiply-adds of encoders', _encoder_arguments, _encoders),
        ('scan', 'the engines of the selective scan alone', _scan_arguments, _scan),
    ):
        own = kinds.add_parser(name, help=text, description=work.__doc__)
        add_kind(own)
        own.add_argument('--threads', type=int, default=0, help='0: as PyTorch chooses')
        own.set_defaults(work=work)


def complete(words: Sequence[str]) -> list[str]:
    """Take the option ``--models`` with what follows for the kind of that name."""
    if '--models' not in words:
        return list(words)
    at = words.index('--models')
    return ['models', *words[at + 1 :], *words[:at]]


def run(args: argparse.Namespace) -> None:
    """Measure."""
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    args.work(args)


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='configs of detectors; rs4d::PATH is one of ours',
    )
    add('--baseline', metavar='CONFIG', help='the one that ratios refer to; default: the last one')
    add('--modes', nargs='+', choices=['predict', 'train'], default=['predict'])
    add('--precisions', nargs='+', choices=['float32', 'bf16'], default=['float32'])
    add('--side', type=int, help="pixels, instead of the config's image_size (or 1024)")
    add('--detections', type=int, default=100, help='objects that a prediction finds; %(default)s')
    add('--batch-size', type=int, default=1, help='images of a training step; %(default)s')
    add('--instances', type=int, default=20, help='objects of an image in training; %(default)s')
    add('--disturb', type=int, default=0, metavar='N', help='measure beside N busy processes, too')
    add('--rounds', type=int, default=5, help='turns of each')
    add('--warmup', type=int, default=1, help='turns before those that count')
    add('--no-memory', action='store_true', help='leave out peak memory')
    add('--plot', type=Path, metavar='FILE', help='a picture of the parts, .png or .svg')
    add('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder')


def _models(args: argparse.Namespace) -> None:
    """Compare whole detectors with random weights; write JSON and Markdown tables.

    A prediction is split into encoder, neck, proposals (an RPN or a dense head), heads (RoI heads,
    decoding of masks), post-processing (suppression, masks at the image's size) and the rest; a
    training step into forward and backward pass and optimizer. Images are noise. In a prediction as
    many boxes are found as --detections says, at places that are the same for every detector. Peak
    memory is measured in a fresh process for each, and is what goes beyond its imports.
    """
    from rs4d.analysis.benchmark.detectors import Workload
    from rs4d.analysis.benchmark.models import Turns, compare_models

    work = Workload('predict', args.side, args.batch_size, args.instances, args.detections)
    turns = Turns(args.rounds, args.warmup, args.disturb, not args.no_memory)
    tables = compare_models(
        args.configs, args.modes, args.precisions, work, turns, args.out, args.baseline, args.plot
    )
    _print(tables, args.out)


def _print(tables: Iterable[str], out: Path) -> None:
    for table in tables:
        print(f'{table}\n\nWritten to {out}', flush=True)


def _scene_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser, "the config file, or - for the checkpoint's own")
    add = parser.add_argument
    add('checkpoint', help='the checkpoint file')
    add('scenes', nargs='+', metavar='SCENE', help='rasters')
    add_window_arguments(parser)
    add('--tiles', type=int, default=64, help='windows of a turn, at least; %(default)s')
    add('--rounds', type=int, default=5, help='turns of each')
    add('--warmup', type=int, default=1, help='turns before those that count')
    add('--no-memory', action='store_true', help='do not predict each scene as a whole')
    add('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder')


def _scenes(args: argparse.Namespace) -> None:
    """Measure predictions of scenes; write JSON and a Markdown table.

    Rows of windows from the middle of a scene are predicted from the file, in turns with the same
    windows from memory, which is the model alone. Then rs4d predict itself does the whole scene, and
    its peak memory is measured.
    """
    from rs4d.analysis.benchmark.scenes import SceneTurns, measure_scenes
    from rs4d.inference import Predictor

    quiet_mmengine()
    config = None if args.config == '-' else args.config
    options = parsed_options(args)
    detector = Predictor(config, args.checkpoint, score_thr=args.score_thr, options=options)
    size, overlap = window_sizes(args, detector.side)
    turns = SceneTurns(size, overlap, args.tiles, args.rounds, args.warmup)
    words = [args.config, args.checkpoint, '--score-thr', str(args.score_thr)]
    if args.cfg_options:
        words += ['--cfg-options', *args.cfg_options]
    whole = None if args.no_memory else words
    _print(measure_scenes(detector, args.scenes, turns, args.out, whole), args.out)


def _encoder_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--encoders', nargs='+', default=['rsmamba-base', 'sam-vit-b', 'resnet-50'])
    add('--baseline', help='the one that ratios refer to; default: the last one')
    add('--sides', nargs='+', type=int, default=[512, 1024], help='pixels')
    add('--modes', nargs='+', choices=['infer', 'train'], default=['infer'])
    add('--rounds', type=int, default=5, help='turns of each encoder')
    add('--warmup', type=int, default=1, help='turns before those that count; 0 for a slow peer')
    add('--device', default='cpu', help='cpu or cuda')
    add('--no-memory', action='store_true', help='leave out peak memory')
    add('--with-cp', action='store_true', help='activation checkpointing of RSMamba')
    add('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder')


def _encoders(args: argparse.Namespace) -> None:
    """Compare encoders at several input sizes; write JSON and a Markdown table.

    Peak memory is measured in a fresh process for each.
    """
    from rs4d.analysis.benchmark.comparison import compare_encoders

    _print(compare_encoders(args), args.out)


def _scan_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--shape', nargs=4, type=int, default=[1, 4096, 512, 16], metavar=tuple('BLDN'))
    add('--rounds', type=int, default=5, help='turns of each engine')
    add('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder')


def _scan(args: argparse.Namespace) -> None:
    """Time every engine of the selective scan that runs here."""
    from rs4d.analysis.benchmark.scan import compare_engines

    _print([compare_engines(tuple(args.shape), args.rounds, args.out)], args.out)
