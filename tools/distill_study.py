"""Does distillation help? Stage 1 on real images, then NWPU VHR-10 from it and from scratch.

Runs the project's own tools one after the other, for several seeds, and ends with a table and the
learning curves. On two CPU cores the whole takes about two hours; a run that is there already is not
run again, so that an interrupted study goes on where it was.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUDY = Path('work_dirs/distill_study')
STAGE_1 = 'configs/distill/rs4d-tiny_efficientnet-lite0_mixed.py'
# Name of the start, and the config that fine-tunes from it.
STARTS = {
    'distilled': 'configs/rs4d/rs4d-tiny_bbox_nwpu.py',
    'scratch': 'configs/rs4d/rs4d-tiny-scratch_bbox_nwpu.py',
}
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
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


def history(folder: Path) -> list[dict[str, float]]:
    """Read the validations of a run from MMEngine's scalars, an entry each."""
    entries = {}
    for file in sorted((ROOT / folder).glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if 'coco/segm_mAP' in entry:
                entries[entry['step']] = entry
    return [entries[step] for step in sorted(entries)]


def report(runs: dict[str, list[Path]]) -> str:
    """Make the Markdown table: one row a run, and the mean of each start."""
    rows = ['| start | seed | ' + ' | '.join(METRICS) + ' |', '|---' * (2 + len(METRICS)) + '|']
    for start, folders in runs.items():
        finals = [history(folder)[-1] for folder in folders]
        for folder, final in zip(folders, finals, strict=True):
            seed = folder.name.rsplit('_', 1)[1]
            figures = ' | '.join(f'{final[f"coco/{name}"]:.3f}' for name in METRICS)
            rows.append(f'| {start} | {seed} | {figures} |')
        means = ' | '.join(
            f'{statistics.mean(final[f"coco/{name}"] for final in finals):.3f}' for name in METRICS
        )
        rows.append(f'| {start} | mean | {means} |')
    return '\n'.join(rows)


def main(argv: list[str] | None = None) -> None:
    """Run the study."""
    args = parse_args(argv)
    train(STAGE_1, STUDY / 'stage1')
    checkpoint = f'{STUDY}/stage1/latest.pth'
    runs: dict[str, list[Path]] = {start: [] for start in STARTS}
    for seed in args.seeds:
        for start, config in STARTS.items():
            folder = STUDY / f'{start}_{seed}'
            options = [f'randomness.seed={seed}']
            if start == 'distilled':
                options.append(f'model.backbone.init_cfg.checkpoint={checkpoint}')
            train(config, folder, *options)
            runs[start].append(folder)
    table = report(runs)
    (ROOT / STUDY / 'results.md').write_text(table + '\n')
    run(
        'tools/analysis_tools/plot_log.py',
        *(str(folder) for folders in runs.values() for folder in folders),
        '--keys',
        'loss',
        'coco/segm_mAP_50',
        '--out',
        str(STUDY / 'curves.png'),
    )
    print(f'\n{table}\n\nTable: {STUDY}/results.md   Curves: {STUDY}/curves.png')


if __name__ == '__main__':
    main()
