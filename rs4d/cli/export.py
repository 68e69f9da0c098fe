"""Export an encoder or a detector as a program of PyTorch (pt2) or an ONNX graph, and check it.

A graph is of standard operators, for any runtime; with --custom-op it calls kernels of a library that is
built beside it, for ONNX Runtime. Inputs are images (B, bands, H, W) as they are, 0 to 255, red, green,
blue; a detector also takes the height and width of what of an image is not padding.
Example: rs4d export rs4d::rs4d/rs4d-tiny_light_ssdd.py latest.pth --to onnx --part model --size 192 320
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import add_config_arguments, read_config

if TYPE_CHECKING:
    from torch import Tensor

    from rs4d.export.parts import Part

_ENDINGS = {'pt2': '.pt2', 'onnx': '.onnx'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is exported, to what, and what it is checked with."""
    add_config_arguments(parser)
    add = parser.add_argument
    add('checkpoint', help='the checkpoint file')
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
        help="pixels; one number means a square (default: the config's image_size, or 1024)",
    )
    add('--dynamic', action='store_true', help='leave number and size of the images open')
    add(
        '--dtype',
        default='float32',
        choices=['float32', 'bfloat16'],
        help='in which it computes; bfloat16 for pt2 alone; default: %(default)s',
    )
    add('--out', metavar='FILE', help='default: CONFIG_PART beside the checkpoint')
    add('--image', metavar='FILE', help='a real image to check with, beside a random one')
    add(
        '--custom-op',
        action='store_true',
        help='a graph that calls the C++ kernels, and the library for ONNX Runtime that has them',
    )
    add('--onnxruntime-include', metavar='DIR', help="where ONNX Runtime's headers are")
    add('--no-check', action='store_true', help='do not compare with the model')


def run(args: argparse.Namespace) -> int:
    """Export, check, and print what was found; 1 if the file differs from the model."""
    import torch

    from rs4d.analysis.complexity import input_shape
    from rs4d.errors import ConfigError
    from rs4d.export.parts import build_part, load_model

    if args.to == 'pt2' and (args.custom_op or args.onnxruntime_include):
        raise ConfigError('--custom-op is for --to onnx; a pt2 calls the kernels by itself.')
    if args.dtype != 'float32' and (args.to == 'onnx' or args.part == 'model'):
        raise ConfigError(f'--dtype {args.dtype} is for encoders and --to pt2.')
    if args.size is not None and len(args.size) > 2:
        raise ConfigError('--size takes a height and a width, or one number for both.')
    cfg = read_config(args, args.checkpoint)
    model = load_model(cfg, args.checkpoint)
    part = build_part(model, args.part)
    part.compute_in(getattr(torch, args.dtype))
    size = (args.size[0], args.size[-1]) if args.size else input_shape(cfg)
    if size[0] % part.divisor or size[1] % part.divisor:
        raise ConfigError(
            f'--size {size[0]} {size[1]}: both have to be multiples of {part.divisor}.'
        )
    default = f'{Path(args.config).stem}_{args.part.replace("+", "-")}{_ENDINGS[args.to]}'
    out = Path(args.out) if args.out else Path(args.checkpoint).parent / default
    example = part.example(*size)
    library = _write(args, part, example, out)
    print(f'{out}: {args.part}, {size[0]}x{size[1]}, {_mebibytes(out)}', flush=True)
    if library is not None:
        print(f'{library}: operators for ONNX Runtime, {_mebibytes(library)}', flush=True)
    if args.no_check:
        return 0
    images = {'a random image': example}
    if args.image:
        images[args.image] = _read(args.image, part, size)
    return _check(args, model, part, images, out, library)


def _write(
    args: argparse.Namespace, part: 'Part', example: tuple['Tensor', ...], out: Path
) -> Path | None:
    """Write the file; returns the library of custom operators, if there is one."""
    from rs4d import __version__

    if args.to == 'pt2':
        from rs4d.export.program import export_program, save_program

        about = dict(config=args.config, part=args.part, rs4d=__version__)
        save_program(export_program(part, example, args.dynamic), out, about)
        return None
    from rs4d.export.onnx_graph import export_onnx

    library = None
    if args.custom_op:
        from rs4d.export.custom_ops import build_custom_ops

        library = out.with_name('librs4d_onnxruntime.so')
        build_custom_ops(library, args.onnxruntime_include)
    export_onnx(part, example, out, args.dynamic, args.custom_op)
    return library


def _read(path: str, part: 'Part', size: tuple[int, int]) -> tuple['Tensor', ...]:
    """Read an image, shrunk into the size with its proportions kept, and padded with zeros."""
    import cv2
    import torch

    from rs4d.errors import ConfigError

    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise ConfigError(f'--image {path}: it is not there, or is no image that OpenCV reads.')
    if part.bands != 3:
        raise ConfigError(f'--image: the model takes {part.bands} bands, not colours.')
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    image = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)
    pixels = torch.zeros(1, 3, *size)
    pixels[0, :, :height, :width] = torch.from_numpy(image).permute(2, 0, 1)
    return (pixels, torch.tensor([height, width])) if len(part.inputs) > 1 else (pixels,)


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

    bound = 1e-4 if args.dtype == 'float32' else 3e-2
    differs = False
    for runtime, run_file in runners(out, library).items():
        for image, inputs in images.items():
            if args.part == 'model':
                found = compare_detections(model, part, run_file, inputs)
                differs |= not found.agrees
                print(f'{runtime}, {image}: {found}', flush=True)
            else:
                agreement = compare_maps(part, run_file, inputs)
                differs |= not agreement.error <= bound
                print(f'{runtime}, {image}: {agreement}', flush=True)
    if differs:
        print('The exported file differs from the model by more than it should.')
    return int(differs)


def _mebibytes(path: Path) -> str:
    return f'{path.stat().st_size / 2**20:.1f} MiB'
