"""Get a published model: one safetensors file, from a folder or the Hugging Face Hub.

Example: rs4d pull hf://me/roofs
         rs4d predict roofs.safetensors scene.tif --out found
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where it comes from, and where to."""
    add = parser.add_argument
    add('source', help='hf://OWNER/NAME, hf://OWNER/NAME@REVISION, a folder or a file')
    add('--out', metavar='FILE', type=Path, help='default: NAME.safetensors')
    add('--overwrite', action='store_true', help='replace a file that is there')


def run(args: argparse.Namespace) -> None:
    """Copy the file and say what it is."""
    from rs4d.checkpoints.hub import HUB, download, parse_address
    from rs4d.checkpoints.published import WEIGHTS, read_published
    from rs4d.checkpoints.reading import SAFETENSORS
    from rs4d.errors import ConfigError
    from rs4d.files import refuse_existing, write_bytes

    if args.source.startswith(HUB):
        name = parse_address(args.source)[0].partition('/')[2]
    else:
        source = Path(args.source).resolve()
        # A folder's name may have dots that begin no ending.
        name = source.stem if source.suffix == SAFETENSORS else source.name
    out = args.out or Path(f'{name}{SAFETENSORS}')
    if out.suffix != SAFETENSORS:
        raise ConfigError(f"--out '{out}': end the file's name in {SAFETENSORS}.")
    if not args.overwrite:
        refuse_existing(out)
    if args.source.startswith(HUB):
        file = download(args.source)
    else:
        file = Path(args.source)
        file = file / WEIGHTS if file.is_dir() else file
    said = read_published(file)
    write_bytes(out, file.read_bytes())
    print(f'{out}: {said.part}{", " * bool(said.classes)}{", ".join(said.classes)}')
    if said.part == 'detector':
        print(f'rs4d predict {out} scene.tif --out found')
