"""Does distillation help? Stage 1 on real images, then NWPU VHR-10 from it and from scratch.

Runs the project's own tools one after the other, for several seeds, and ends with a table and the
learning curves. On two CPU cores the whole takes about two hours; a run that is there already is not
run again, so that an interrupted study goes on where it was.

To try it out, in minutes with RS4D_DATA_ROOT at a few images of each data set:
python tools/distill_study.py --seeds 0 --work-dir work_dirs/trial --cfg-options train_cfg.max_epochs=1
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rs4d.visualization import TrainingLogError, read_run

ROOT = Path(__file__).resolve().parent.parent
STAGE_1 = 'configs/distill/rs4d-tiny_efficientnet-lite0_mixed.py'
# Name of the start, and the config that fine-tunes from it.
STARTS = {
    'distilled': 'configs/rs4d/rs4d-tiny_bbox_nwpu.py',
    'scratch': 'configs/rs4d/rs4d-tiny-scratch_bbox_nwpu.py',
}
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/distill_study'),
        help='folder of the study; default: %(default)s',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change settings of every training; in a --work-dir of its own, since what is done '
        'there is not done again',
    )
    return parser.parse_args(argv)


def run(*command: str) -> None:
    """Run one of the project's tools; the study ends where one fails."""
    print(f'\n$ python {" ".join(command)}', flush=True)
    environment = os.environ | {'PYTHONWARNINGS': 'ignore'}
    result = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=False)
    if result.returncode:
        sys.exit(
            f'\nThe study stopped (exit code {result.returncode}); the message above says why. The '
            'same command goes on from here.'
        )


def train(config: str, folder: Path, *options: str) -> None:
    """Train unless that is done; go on with a training that was interrupted."""
    done = ROOT / folder / 'done'
    if done.is_file():
        return
    resume = ['--resume'] if list((ROOT / folder).glob('*.pth')) else []
    extra = ['--cfg-options', *options] if options else []
    run('tools/train.py', config, '--work-dir', str(folder), *resume, *extra)
    done.touch()


def final_figures(folder: Path) -> dict[str, float]:
    """Read the last validation of a run from its logs, by the names of ``METRICS``."""
    try:
        validation = read_run(ROOT / folder).validation
        return {name: validation[f'coco/{name}'][1][-1] for name in METRICS}
    except (TrainingLogError, KeyError):
        sys.exit(
            f"'{folder}' has no validation in its logs (*/vis_data/scalars.json). Delete the folder "
            'and start the study again, which then trains this run once more.'
        )


def report(runs: dict[str, list[Path]]) -> str:
    """Make the Markdown table: one row a run, and the mean of each start."""
    rows = ['| start | seed | ' + ' | '.join(METRICS) + ' |', '|---' * (2 + len(METRICS)) + '|']
    for start, folders in runs.items():
        finals = [final_figures(folder) for folder in folders]
        for folder, final in zip(folders, finals, strict=True):
            seed = folder.name.rsplit('_', 1)[1]
            figures = ' | '.join(f'{final[name]:.3f}' for name in METRICS)
            rows.append(f'| {start} | {seed} | {figures} |')
        means = ' | '.join(
            f'{statistics.mean(final[name] for final in finals):.3f}' for name in METRICS
        )
        rows.append(f'| {start} | mean | {means} |')
    return '\n'.join(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    args = parse_args(argv)
    study = args.work_dir
    train(STAGE_1, study / 'stage1', *args.cfg_options)
    checkpoint = f'{study}/stage1/latest.pth'
    runs: dict[str, list[Path]] = {start: [] for start in STARTS}
    for seed in args.seeds:
        for start, config in STARTS.items():
            folder = study / f'{start}_{seed}'
            options = [f'randomness.seed={seed}']
            if start == 'distilled':
                options.append(f'model.backbone.init_cfg.checkpoint={checkpoint}')
            train(config, folder, *options, *args.cfg_options)
            runs[start].append(folder)
    table = report(runs)
    (ROOT / study / 'results.md').write_text(table + '\n')
    run(
        'tools/analysis_tools/plot_log.py',
        *(str(folder) for folders in runs.values() for folder in folders),
        '--keys',
        'loss',
        'coco/segm_mAP_50',
        '--out',
        str(study / 'curves.png'),
    )
    print(f'\n{table}\n\nTable: {study}/results.md   Curves: {study}/curves.png')


if __name__ == '__main__':
    main()
