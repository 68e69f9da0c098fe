"""Count parameters and multiply-adds of a config's backbone or whole model, scan included.

Counted are matrix products (m k n multiply-adds for (m, k) x (k, n); linear layers and attention come
down to them), convolutions (output positions x output channels x kernel size x input channels /
groups) and the selective scan of (B, L, D) with N states: 9 B L D N FLOPs, hence 4.5 B L D N
multiply-adds, and B L D for its skip. Work on single elements (activations, norms, gates, additions,
pooling) is left out, for every model alike. A multiply-add is 2 FLOPs; both are printed. A whole
detector is counted with as many proposals and detections as its config allows; of SOLOv2, whose
config sets no limit before masks are made, all but the product that makes single instances' masks.

Example: rs4d flops configs/rs4d/rs4d-base_bbox_ssdd.py
"""

import argparse

from .common import add_config_arguments, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is counted, and for which input."""
    add_config_arguments(parser)
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar=('HEIGHT', 'WIDTH'),
        help="pixels; one number means a square (default: the config's image_size, or 1024)",
    )
    parser.add_argument(
        '--scope', choices=['backbone', 'model'], default='backbone', help='default: %(default)s'
    )


def run(args: argparse.Namespace) -> None:
    """Count and print."""
    from rs4d.analysis.complexity import build_for_counting, count_complexity, input_shape
    from rs4d.errors import ConfigError

    cfg = read_config(args)
    if args.shape is not None and len(args.shape) > 2:
        raise ConfigError('--shape takes a height and a width, or one number for both.')
    shape = (args.shape[0], args.shape[-1]) if args.shape else input_shape(cfg)
    cost = count_complexity(build_for_counting(cfg.model, args.scope), shape, args.scope)
    print(f'config          {args.config}')
    print(f'scope           {args.scope}')
    print(f'input           3 x {shape[0]} x {shape[1]}')
    print(f'parameters      {cost.parameters / 1e6:.2f} M')
    print(f'  trainable     {cost.trainable_parameters / 1e6:.2f} M')
    print(f'multiply-adds   {cost.multiply_adds / 1e9:.2f} G')
    print(f'FLOPs           {cost.flops / 1e9:.2f} G')
    for name, count in cost.by_operator.items():
        print(f'  {name:<28}{count / 1e9:10.2f} G multiply-adds')
