"""Export an encoder or a detector as a program of PyTorch (pt2) or an ONNX graph, and check it.

A graph is of standard operators, for any runtime; with --custom-op it calls kernels of a library that is
built beside it, for ONNX Runtime. Inputs are images (B, bands, H, W) as they are, 0 to 255, red, green,
blue; a detector also takes the height and width of what of an image is not padding.
Example: rs4d export rs4d::rs4d/rs4d-tiny_light_ssdd.py latest.pth --to onnx --part model --size 192 320
With - in place of the config, the one is taken that the checkpoint was trained with. A published
model needs neither: rs4d export FILE.safetensors --to onnx --part model
"""

import argparse
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import (
    add_config_arguments,
    add_config_options,
    own_config,
    parsed_options,
    read_config,
)

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor

    from rs4d.export.parts import Part

_ENDINGS = {'pt2': '.pt2', 'onnx': '.onnx'}
# How far maps of bfloat16, with its 8 bits, may be from those of float32.
_BFLOAT16 = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is exported, to what, and what it is checked with."""
    add_config_arguments(parser, "the config file, or - for the checkpoint's own")
    parser.add_argument('checkpoint', help='the checkpoint file')
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--to', required=True, choices=list(_ENDINGS), help='the form of the file')
    add(
        '--part',
        default='encoder',
        choices=['encoder', 'encoder+neck', 'model'],
        help='what is exported; default: %(default)s',
    )
    add(
        '--size',
        type=int,
        nargs='+',
        metavar=('HEIGHT', 'WIDTH'),
        help='pixels; one number means a square (default: that of the config)',
    )
    add('--dynamic', action='store_true', help='leave number and size of the images open')
    add(
        '--dtype',
        default='float32',
        choices=['float32', 'bfloat16'],
        help='in which it computes; bfloat16 for pt2 alone; default: %(default)s',
    )
    add('--out', metavar='FILE', help='default: CONFIG_PART beside the checkpoint')
    add('--overwrite', action='store_true', help='replace a file that is there')
    add(
        '--image',
        metavar='FILE',
        help="a real image to check with, beside a random one; the config's own steps load it",
    )
    add(
        '--custom-op',
        action='store_true',
        help='a graph that calls the C++ kernels, and the library for ONNX Runtime that has them',
    )
    add('--onnxruntime-include', metavar='DIR', help="where ONNX Runtime's headers are")
    add('--no-check', action='store_true', help='do not compare with the model')


def complete(words: list[str]) -> list[str]:
    """Put ``-`` in the place of the config before a published model, which holds its own."""
    return own_config(words, 'rs4d export', add_config_options, _add_options)


def run(args: argparse.Namespace) -> int:
    """Export, check, and print what was found; 1 if the file differs or could not be compared."""
    import torch

    from rs4d import __version__
    from rs4d.errors import ConfigError
    from rs4d.export.about import describe, image_loader, usual_size
    from rs4d.export.parts import build_part, load_model
    from rs4d.files import make_folder, refuse_existing

    if args.to == 'pt2' and (args.custom_op or args.onnxruntime_include):
        raise ConfigError('--custom-op is for --to onnx; a pt2 calls the kernels by itself.')
    if args.dtype != 'float32' and (args.to == 'onnx' or args.part == 'model'):
        raise ConfigError(f'--dtype {args.dtype} is for encoders and --to pt2.')
    if args.size is not None and (len(args.size) > 2 or min(args.size) < 1):
        raise ConfigError('--size takes a height and a width in pixels, or one number for both.')
    out = _target(args)
    if not args.overwrite:
        refuse_existing(out, *([out.with_name(f'{out.name}.data')] if args.to == 'onnx' else []))
    cfg = _read_config(args)
    model = load_model(cfg, args.checkpoint, args.part)
    loader = image_loader(cfg)
    part = build_part(model, args.part, loader.blue_first)
    size = (args.size[0], args.size[-1]) if args.size else usual_size(cfg, part.divisor)
    if size[0] % part.divisor or size[1] % part.divisor:
        raise ConfigError(
            f'--size {size[0]} {size[1]}: both have to be multiples of {part.divisor}.'
        )
    example = part.example(*size)
    images = {'a random image': example}
    if args.image:
        images[args.image] = loader.read(args.image, part, size)
    make_folder(out.parent, '--out')
    with torch.inference_mode():
        part(*example)  # what does not go at this size says so better than a tracer
    exact = part
    if args.dtype != 'float32':
        exact = copy.deepcopy(part)
        part.compute_in(getattr(torch, args.dtype))
    about = describe(cfg, args.checkpoint, model, part, size, args.dynamic, __version__)
    library = _write(args, part, example, out, about)
    print(f'{out}: {args.part}, {size[0]}x{size[1]}, {_mebibytes(out)}', flush=True)
    if library is not None:
        print(f'{library}: operators for ONNX Runtime, {_mebibytes(library)}', flush=True)
    if args.no_check:
        return 0
    return _check(args, model, exact, images, out, library)


def _target(args: argparse.Namespace) -> Path:
    """Where the file goes; its ending says what it is."""
    from rs4d.errors import ConfigError

    ending = _ENDINGS[args.to]
    if args.out:
        out = Path(args.out)
        if out.suffix != ending:
            raise ConfigError(
                f"--out '{out}': with --to {args.to} end the file's name in {ending}."
            )
        return out
    checkpoint = Path(args.checkpoint)
    name = checkpoint.stem if args.config == '-' else Path(args.config).stem
    return checkpoint.parent / f'{name}_{args.part.replace("+", "-")}{ending}'


def _read_config(args: argparse.Namespace) -> 'Config':
    from rs4d.checkpoints.checks import require_checkpoint
    from rs4d.inference.predictor import read_model_config

    require_checkpoint(args.checkpoint, 'the arguments')
    if args.config == '-':
        return read_model_config(None, args.checkpoint, parsed_options(args))
    return read_config(args, args.checkpoint)


def _write(
    args: argparse.Namespace,
    part: 'Part',
    example: tuple['Tensor', ...],
    out: Path,
    about: dict[str, Any],
) -> Path | None:
    """Write the file; returns the library of custom operators, if there is one."""
    if args.to == 'pt2':
        from rs4d.export.program import export_program, save_program

        save_program(export_program(part, example, args.dynamic), out, about)
        return None
    from rs4d.export.onnx_graph import export_onnx

    library = None
    if args.custom_op:
        from rs4d.export.custom_ops import build_custom_ops

        library = out.with_name('librs4d_onnxruntime.so')
        build_custom_ops(library, args.onnxruntime_include)
    export_onnx(part, example, out, args.dynamic, args.custom_op, about)
    return library


def _check(
    args: argparse.Namespace,
    model: Any,
    part: 'Part',
    images: dict[str, tuple['Tensor', ...]],
    out: Path,
    library: Path | None,
) -> int:
    """Compare on every image in every runtime, and print how far they are."""
    from rs4d.export.checking import compare_detections, compare_maps
    from rs4d.export.runtimes import runners

    bound = 1e-4 if args.dtype == 'float32' else _BFLOAT16
    differs, compared = False, args.part != 'model'
    for runtime, run_file in runners(out, library).items():
        for image, inputs in images.items():
            if args.part == 'model':
                found = compare_detections(model, part, run_file, inputs)
                differs |= not found.agrees
                compared |= not found.is_empty
                print(f'{runtime}, {image}: {found}', flush=True)
            else:
                agreement = compare_maps(part, run_file, inputs)
                differs |= not agreement.error <= bound
                print(f'{runtime}, {image}: {agreement}', flush=True)
    if differs:
        print('The exported file differs from the model by more than it should.')
    elif not compared:
        print(
            'The exported file was written but not checked: give an image that the model finds objects '
            'on by --image, with --overwrite, or leave the check out by --no-check.'
        )
    return int(differs or not compared)


def _mebibytes(path: Path) -> str:
    return f'{path.stat().st_size / 2**20:.1f} MiB'
