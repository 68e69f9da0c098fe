"""Convert encoders from and to other layouts, and data sets to COCO annotations.

Nothing that a checkpoint may bring is run. `rs4d convert KIND --help` says what a kind takes.
"""

import argparse
import json

_KINDS = {
    'authors2rs4d': """A student file published by the method's authors into a checkpoint for stage 2.

The result holds the encoder as `student.*`, like the checkpoint of a distillation, so that the
configs in configs/rs4d read it as it is; with the ending .safetensors it holds the encoder alone,
with its architecture in the header.
Example: rs4d convert authors2rs4d student.pth work_dirs/student/latest.pth""",
    'rs4d2authors': """An encoder of ours into a file as the method's authors publish theirs.

The source may be the checkpoint of a distillation or of a detector, or hold the encoder alone, as
.pth or .safetensors; the result is the encoder's state dict and nothing else.
Example: rs4d convert rs4d2authors work_dirs/distill/latest.pth student.pth""",
    'encoder2safetensors': """An encoder of ours into one safetensors file with its architecture.

`init_cfg=dict(type='Pretrained', checkpoint='encoder.safetensors')` loads the result.
Example: rs4d convert encoder2safetensors latest.pth encoder.safetensors""",
    'whu2coco': """The label TIFFs of the WHU building data set into COCO instance annotations.

Writes ROOT/annotations/WHU_building_{train,val,test}.json for the splits that are there.
Example: rs4d convert whu2coco data/WHU""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one parser for each kind."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    for kind, description in _KINDS.items():
        own = kinds.add_parser(
            kind,
            help=description.split('\n')[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if kind == 'whu2coco':
            _add_whu(own)
        else:
            own.add_argument('source', help='the file with the encoder')
            own.add_argument('target', help='the file to write')
            own.add_argument('--prefix', help="start of the encoder's names, if there are several")
        if kind == 'rs4d2authors':
            own.add_argument(
                '--module',
                action='store_true',
                help="start every name with 'module.', as theirs may",
            )
        own.add_argument('--overwrite', action='store_true', help='replace what exists')


def _add_whu(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('root', help='folder with {train,val,test}/{image,label}/*.tif')
    add('--splits', nargs='+', choices=['train', 'val', 'test'], help='default: those that exist')


def run(args: argparse.Namespace) -> None:
    """Convert and say what was found."""
    if args.kind == 'whu2coco':
        from rs4d.datasets.converters import convert_whu

        for file in convert_whu(args.root, args.splits, args.overwrite):
            print(file)
        return
    from rs4d.checkpoints.conversion import convert_encoder

    start = 'student.' if args.kind == 'authors2rs4d' else ''
    if args.kind == 'rs4d2authors' and args.module:
        start = 'module.'
    header = convert_encoder(args.source, args.target, start, args.prefix, args.overwrite)
    print(f'{args.target}: {json.dumps(header)}')
