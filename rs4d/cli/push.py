"""Publish a trained model as one safetensors file, into a folder or on the Hugging Face Hub.

Its config and classes are in the header, so that it predicts without any other file:
Example: rs4d push work_dirs/roofs/latest.pth hf://me/roofs
         rs4d push work_dirs/roofs/latest.pth roofs.safetensors
Of a distillation the encoder is taken; of a detector all, or with --part encoder its encoder.
"""

import argparse
import tempfile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is published, and where to."""
    add = parser.add_argument
    add('checkpoint', help="a training's checkpoint")
    add('target', help='FILE.safetensors, a folder, or hf://OWNER/NAME')
    add('--part', choices=['detector', 'encoder'], help='what of it; see above')
    add('--config', help='the config that it was trained with, if the checkpoint does not hold it')
    add('--private', action='store_true', help='make a new repository on the Hub private')
    add('--overwrite', action='store_true', help='replace a file that is there')


def run(args: argparse.Namespace) -> None:
    """Write, and send what goes to the Hub."""
    from rs4d import __version__
    from rs4d.checkpoints import trained_classes
    from rs4d.checkpoints.hub import HUB, parse_address, upload
    from rs4d.checkpoints.published import publish
    from rs4d.config import load_config

    cfg = load_config(args.config, {}, trained_classes(args.checkpoint)) if args.config else None
    how = (args.part, cfg, __version__, args.overwrite)
    if args.target.startswith(HUB):
        parse_address(args.target)
        with tempfile.TemporaryDirectory() as folder:
            said = publish(args.checkpoint, folder, *how)
            place = upload(folder, args.target, args.private)
    else:
        said, place = publish(args.checkpoint, args.target, *how), args.target
    classes = f' of {len(said.classes)} classes' if said.classes else ''
    print(f'{said.part.capitalize()}{classes}: {place}')
