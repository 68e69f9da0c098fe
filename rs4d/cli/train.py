"""Train a model: distil an encoder (stage 1) or fine-tune a detector (stage 2).

Example: rs4d train configs/rs4d/rs4d-base_bbox_ssdd.py
Data of your own: rs4d train rs4d::rs4d/rs4d-tiny_light_coco.py --data DIR --train A.json --val B.json
Several processes: tools/dist_train.sh, tools/slurm_train.sh. Ctrl-C and SIGTERM save before leaving.
"""

import argparse
import os
import shlex
from pathlib import Path

from .common import (
    add_config_arguments,
    add_data_arguments,
    add_run_arguments,
    data_words,
    read_run_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a training takes; the flags are MMDetection's, and a few."""
    add_config_arguments(parser)
    add_data_arguments(parser)
    add_run_arguments(parser)
    add = parser.add_argument
    add(
        '--accumulate',
        type=int,
        metavar='N',
        help='update the parameters once for N batches, as if they were one',
    )
    add('--compile', action='store_true', help='compile the encoder with torch.compile')
    add(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the total batch size over auto_scale_lr.base_batch_size',
    )
    add(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint, or without one from the newest in the work dir',
    )
    add(
        '--overwrite',
        action='store_true',
        help='allow a new training to overwrite the checkpoints in the work dir',
    )


def run(args: argparse.Namespace) -> None:
    """Train."""
    from rs4d.apis import train

    cfg = read_run_config(args)
    args.work_dir = cfg.work_dir
    train(
        cfg,
        amp=args.amp,
        accumulate=args.accumulate,
        compile=args.compile,
        auto_scale_lr=args.auto_scale_lr,
        resume=args.resume,
        overwrite=args.overwrite,
    )


def interrupted(args: argparse.Namespace) -> str | None:
    """Say what is saved and how to continue; the first of several processes says it for all."""
    from mmengine.runner import find_latest_checkpoint

    from rs4d.engine.distributed import launched_as

    rank, number = launched_as(args.launcher)
    if rank != 0:
        return None
    folder = args.work_dir
    latest = find_latest_checkpoint(folder) if folder and Path(folder).is_dir() else None
    if latest is None:
        return 'No checkpoint had been written yet; the same command starts again.'
    data = data_words(args)
    words = [args.config, *data, '--work-dir', folder, '--resume']
    if args.launcher == 'slurm':
        script = [f'GPUS={number}', 'bash', 'tools/slurm_train.sh', 'PARTITION', 'JOB_NAME']
        command = [*script, args.config, folder, *data, '--resume']
    elif args.launcher == 'pytorch':
        # The script takes the number of this machine.
        local = os.environ.get('LOCAL_WORLD_SIZE', str(number))
        command = ['bash', 'tools/dist_train.sh', args.config, local, *words[1:]]
    else:
        command = ['rs4d', 'train', *words]
    return f"Everything up to '{latest}' is saved; continue with: {shlex.join(command)}"
