"""Train a model: distil an encoder (stage 1) or fine-tune a detector (stage 2).

Example: python tools/train.py configs/rs4d/rs4d-base_bbox_ssdd.py
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import find_latest_checkpoint

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.apis.cli import (
    add_common_arguments,
    quote_command,
    read_config,
    run_tool,
    use_mixed_precision,
)
from rs4d.apis.errors import SetupError
from rs4d.apis.preflight import check_training, check_work_dir, choose_resume


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision (GPU)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the total batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint, or without one from the newest in the work dir',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='allow a new training to overwrite the checkpoints in the work dir',
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def train(args: argparse.Namespace) -> None:
    """Check everything that can be checked, then train."""
    cfg = read_config(args)
    args.work_dir = cfg.work_dir
    if args.amp:
        use_mixed_precision(cfg)
    if args.auto_scale_lr:
        scale_learning_rate(cfg)
    choose_resume(cfg, args.resume)
    check_work_dir(cfg, args.overwrite)
    cfg.runner_type = cfg.get('runner_type', 'AtomicRunner')
    runner = RUNNERS.build(cfg)
    check_training(runner)
    runner.train()


def scale_learning_rate(cfg: Config) -> None:
    """Switch MMEngine's scaling of the learning rate on."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise SetupError(
            f"--auto-scale-lr: the config '{cfg.filename}' does not say for which batch size its "
            'learning rate is meant. Add auto_scale_lr=dict(base_batch_size=...) to it.'
        )
    cfg.auto_scale_lr.enable = True


def how_to_resume(args: argparse.Namespace) -> str:
    """Say what is saved and how to continue."""
    folder = args.work_dir
    latest = find_latest_checkpoint(folder) if folder and Path(folder).is_dir() else None
    if latest is None:
        return 'No checkpoint had been written yet; the same command starts again.'
    command = ['python', 'tools/train.py', args.config, '--work-dir', folder, '--resume']
    return f"Everything up to '{latest}' is saved; continue with: {quote_command(command)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('train', lambda: train(args), lambda: how_to_resume(args))


if __name__ == '__main__':
    sys.exit(main())
