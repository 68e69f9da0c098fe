"""Check everything on this machine's GPU: engines, the encoder's speed, trainings; under ten minutes.

Every engine of the scan against the definition, forward, gradients and bfloat16; RSMamba-base against
SAM's ViT-B; a training in float32, in bfloat16, compiled, and in two processes where there are two
GPUs; SSDD for five minutes where it is at hand. Writes gpu_check.md and gpu_check.json. Needs no
network. Example: rs4d gpu-check --out work_dirs/gpu_check
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where it runs, and for how long."""
    add = parser.add_argument
    add('--device', choices=['cuda', 'cpu'], default='cuda', help='default: %(default)s')
    add('--out', type=Path, default=Path('work_dirs/gpu_check'), help='folder')
    add('--only', nargs='+', choices=['engines', 'encoders', 'training', 'SSDD'], help='of these')
    add('--side', type=int, default=1024, help="pixels of the encoders' image; %(default)s")
    add('--rounds', type=int, default=20, help='turns of each encoder; %(default)s')
    add('--minutes', type=float, default=5, help='of the training on SSDD; %(default)s')


def run(args: argparse.Namespace) -> int:
    """Check; the exit code is 1 if anything failed."""
    from rs4d.analysis.gpu_check import CHECKS, Setting, run_checks

    setting = Setting(args.device, args.out, args.side, args.rounds, minutes=args.minutes)
    findings = run_checks(setting, tuple(args.only or CHECKS))
    print((args.out / 'gpu_check.md').read_text())
    failed = sum(found.outcome == 'failed' for found in findings)
    if failed:
        print(f'{failed} of {len(findings)} failed.')
    return int(failed > 0)
