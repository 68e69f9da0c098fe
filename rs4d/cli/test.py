"""Score a checkpoint: COCO AP of boxes and masks, or for stage 1 the agreement with the teacher.

Prints the metrics and writes them to metrics.json in the work dir. `rs4d report` makes a page of what a
test leaves there.
Example: rs4d test configs/rs4d/rs4d-base_bbox_ssdd.py work_dirs/ssdd/latest.pth
For data of your own add --data DIR --val B.json; the classes are those of the checkpoint.
"""

import argparse

from .common import (
    add_config_arguments,
    add_data_arguments,
    add_run_arguments,
    read_run_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a test takes; the flags are MMDetection's."""
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='the checkpoint file')
    parser.add_argument(
        '--out', metavar='FILE.json', help='write all predictions here, as COCO results'
    )
    parser.add_argument(
        '--show-dir', help='draw predictions into this folder, under work dir and time of start'
    )
    add_data_arguments(parser, train=False)
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Test and print the metrics."""
    from rs4d.apis import test
    from rs4d.engine.distributed import launched_as

    cfg = read_run_config(args, args.checkpoint)
    metrics = test(cfg, args.checkpoint, amp=args.amp, out=args.out, show_dir=args.show_dir)
    if launched_as(args.launcher)[0] == 0:
        width = max(map(len, metrics), default=0)
        for name, value in metrics.items():
            print(f'{name:<{width}}  {format(value, ".4f") if isinstance(value, float) else value}')
        print(f'Metrics: {cfg.work_dir}/metrics.json')
