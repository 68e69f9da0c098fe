"""Train a model: distil an encoder (stage 1) or fine-tune a detector (stage 2).

Example: python tools/train.py configs/rs4d/rs4d-base_bbox_ssdd.py
Several processes: tools/dist_train.sh, tools/slurm_train.sh. Ctrl-C and SIGTERM save before leaving.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import find_latest_checkpoint

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.cli.common import (
    accumulate_gradients,
    add_common_arguments,
    quote_command,
    read_config,
    run_tool,
    use_mixed_precision,
)
from rs4d.engine import TrainingStopped, use_resumable_parts
from rs4d.engine.distributed import launched_as, leave
from rs4d.engine.preflight import check_training, check_work_dir, choose_resume
from rs4d.errors import SetupError
from rs4d.models.part_checks import check_parts

PRECISIONS = ('bf16', 'fp16')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', *PRECISIONS],
        help='train in mixed precision: in bf16 (also on CPUs) or fp16, by default in the first '
        'of these that the GPU has',
    )
    parser.add_argument(
        '--accumulate',
        type=int,
        metavar='N',
        help='update the parameters once for N batches, as if they were one',
    )
    parser.add_argument(
        '--compile', action='store_true', help='compile the encoder with torch.compile'
    )
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
    words = list(sys.argv[1:] if argv is None else argv)
    for i in reversed(range(len(words))):
        # Its value may be left out, also before the config.
        if words[i] == '--amp' and words[i + 1 : i + 2] not in [[value] for value in PRECISIONS]:
            words[i] = '--amp=auto'
    return parser.parse_args(words)


def train(args: argparse.Namespace) -> None:
    """Check everything that can be checked, then train."""
    cfg = read_config(args)
    args.work_dir = cfg.work_dir
    if args.amp:
        use_mixed_precision(cfg, args.amp)
    if args.accumulate is not None:
        accumulate_gradients(cfg, args.accumulate)
    if args.compile:
        # A config may say how.
        cfg.compile = cfg.get('compile') or True
    if args.auto_scale_lr:
        scale_learning_rate(cfg)
    choose_resume(cfg, args.resume)
    check_work_dir(cfg, args.overwrite)
    use_resumable_parts(cfg)
    cfg.runner_type = cfg.get('runner_type', 'AtomicRunner')
    runner = RUNNERS.build(cfg)
    check_parts(runner.model)
    check_training(runner)
    try:
        runner.train()
    except TrainingStopped:
        # All ranks are here.
        leave()
        raise
    leave()


def scale_learning_rate(cfg: Config) -> None:
    """Switch MMEngine's scaling of the learning rate on."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise SetupError(
            f"--auto-scale-lr: the config '{cfg.filename}' does not say for which batch size its "
            'learning rate is meant. Add auto_scale_lr=dict(base_batch_size=...) to it.'
        )
    cfg.auto_scale_lr.enable = True


def how_to_resume(args: argparse.Namespace) -> str | None:
    """Say what is saved and how to continue; the first of several processes says it for all."""
    rank, number = launched_as(args.launcher)
    if rank != 0:
        return None
    folder = args.work_dir
    latest = find_latest_checkpoint(folder) if folder and Path(folder).is_dir() else None
    if latest is None:
        return 'No checkpoint had been written yet; the same command starts again.'
    words = [args.config, '--work-dir', folder, '--resume']
    if args.launcher == 'slurm':
        script = [f'GPUS={number}', 'bash', 'tools/slurm_train.sh', 'PARTITION', 'JOB_NAME']
        command = [*script, args.config, folder, '--resume']
    elif args.launcher == 'pytorch':
        # The script takes the number of this machine.
        local = os.environ.get('LOCAL_WORLD_SIZE', str(number))
        command = ['bash', 'tools/dist_train.sh', args.config, local, *words[1:]]
    else:
        command = ['python', 'tools/train.py', *words]
    return f"Everything up to '{latest}' is saved; continue with: {quote_command(command)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('train', lambda: train(args), lambda: how_to_resume(args))


if __name__ == '__main__':
    sys.exit(main())
