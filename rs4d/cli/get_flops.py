"""Count parameters and multiply-adds of a config's backbone or whole model, scan included.

Counted are matrix products (m k n multiply-adds for (m, k) x (k, n); linear layers and attention come
down to them), convolutions (output positions x output channels x kernel size x input channels /
groups) and the selective scan of (B, L, D) with N states: 9 B L D N FLOPs, hence 4.5 B L D N
multiply-adds, and B L D for its skip. Work on single elements (activations, norms, gates, additions,
pooling) is left out, for every model alike. A multiply-add is 2 FLOPs; both are printed. A whole
detector is counted with as many proposals and detections as its config allows; of SOLOv2, whose
config sets no limit before masks are made, all but the product that makes single instances' masks.

Example: python tools/analysis_tools/get_flops.py configs/rs4d/rs4d-base_bbox_ssdd.py
"""

import argparse
import sys
from collections.abc import Sequence

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.analysis.complexity import SCOPES, build_for_counting, count_complexity
from rs4d.cli.common import OptionsAction, load_config, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar=('HEIGHT', 'WIDTH'),
        help="pixels; one number means a square (default: the config's image_size, or 1024)",
    )
    parser.add_argument('--scope', choices=SCOPES, default='backbone', help='default: %(default)s')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.shape is not None and len(args.shape) > 2:
        parser.error('--shape takes a height and a width, or one number for both.')
    return args


def get_flops(args: argparse.Namespace) -> None:
    """Count and print."""
    cfg = load_config(args.config, args.cfg_options)
    height, *rest = args.shape or [cfg.get('image_size', 1024)]
    shape = (height, rest[0] if rest else height)
    cost = count_complexity(build_for_counting(cfg.model, args.scope), shape, args.scope)
    print(f'config          {args.config}')
    print(f'scope           {args.scope}')
    print(f'input           3 x {height} x {shape[1]}')
    print(f'parameters      {cost.parameters / 1e6:.2f} M')
    print(f'  trainable     {cost.trainable_parameters / 1e6:.2f} M')
    print(f'multiply-adds   {cost.multiply_adds / 1e9:.2f} G')
    print(f'FLOPs           {cost.flops / 1e9:.2f} G')
    for name, count in cost.by_operator.items():
        print(f'  {name:<28}{count / 1e9:10.2f} G multiply-adds')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('get_flops', lambda: get_flops(args))


if __name__ == '__main__':
    sys.exit(main())
