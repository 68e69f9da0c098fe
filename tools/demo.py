"""The whole method in a few minutes on two CPU cores: generate, distil, fine-tune, score, draw.

Runs the project's own tools one after the other, prints each command before it runs, and ends with a
table, ``metrics.json`` and a picture of predictions beside the truth in ``work_dirs/demo``, and with
a large scene, the layer of what was found in it, and its picture. With
``--heads bbox prompt`` both heads are fine-tuned on the same distilled encoder.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTILL_CONFIG = 'configs/demo/rs4d-tiny_efficientnet-lite0_scenes.py'
FINETUNE_CONFIG = 'configs/demo/rs4d-tiny_{head}_scenes.py'
HEADS = {'bbox': 'Mask R-CNN', 'prompt': 'the prompt head'}
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--train-images', type=int, default=800, help='generated training scenes')
    parser.add_argument('--val-images', type=int, default=120, help='generated held-out scenes')
    parser.add_argument(
        '--heads', nargs='+', choices=list(HEADS), default=['bbox'], help='fine-tuned one by one'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], help='passed on to all trainings')
    return parser.parse_args(argv)


def step(title: str, *command: str) -> float:
    """Run one of the project's tools and return the seconds that it took."""
    print(f'\n=== {title}\n$ python {" ".join(command)}', flush=True)
    start = time.monotonic()
    # DetDataPreprocessor and pycocotools say much that a newcomer need not read.
    environment = os.environ | {'PYTHONWARNINGS': 'ignore'}
    result = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=False)
    if result.returncode:
        sys.exit(
            f'\nThe demo stopped at "{title}" (exit code {result.returncode}); the message above '
            'says why. What was written so far is in work_dirs/demo.'
        )
    return time.monotonic() - start


def keep_earlier(folder: Path) -> None:
    """Move an earlier demo aside, so that nothing already written is lost."""
    if folder.exists():
        stamp = time.strftime('%Y%m%d_%H%M%S', time.localtime(folder.stat().st_mtime))
        earlier = folder.with_name(f'{folder.name}_{stamp}')
        shutil.move(folder, earlier)
        print(f'The earlier demo is now in {earlier.relative_to(ROOT)}.')


def main(argv: list[str] | None = None) -> None:
    """Run the demo."""
    args = parse_args(argv)
    folder = ROOT / 'work_dirs' / 'demo'
    keep_earlier(folder)
    folder.mkdir(parents=True)
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    start = time.monotonic()
    minutes = {}
    minutes['generate'] = step(
        'Generate scenes with exact instance masks',
        'tools/dataset_converters/generate_scenes.py',
        'work_dirs/demo/scenes',
        '--num-train',
        str(args.train_images),
        '--num-val',
        str(args.val_images),
    )
    minutes['distil'] = step(
        'Stage 1: distil an ImageNet EfficientNet-Lite0 into a small RSMamba',
        'tools/train.py',
        DISTILL_CONFIG,
        '--work-dir',
        'work_dirs/demo/distill',
        *options,
    )
    for head in args.heads:
        config, trained = FINETUNE_CONFIG.format(head=head), f'work_dirs/demo/finetune_{head}'
        minutes[f'fine-tune {head}'] = step(
            f'Stage 2: fine-tune it with {HEADS[head]}',
            'tools/train.py',
            config,
            '--work-dir',
            trained,
            *options,
        )
        minutes[f'test {head}'] = step(
            'Test on held-out scenes',
            'tools/test.py',
            config,
            f'{trained}/latest.pth',
            '--work-dir',
            f'work_dirs/demo/test_{head}',
            '--out',
            f'work_dirs/demo/{head}.json',
        )
    minutes['draw'] = step(
        'Draw predictions beside the truth',
        'tools/analysis_tools/draw_predictions.py',
        *(f'work_dirs/demo/{head}.json' for head in args.heads),
        '--annotations',
        'work_dirs/demo/scenes/annotations/scenes_val.json',
        '--image-dir',
        'work_dirs/demo/scenes/imgs',
        '--out',
        'work_dirs/demo/predictions.png',
    )
    minutes['scene'] = step(
        'Generate a georeferenced scene of 4096 x 4096 pixels',
        'tools/dataset_converters/generate_scenes.py',
        'work_dirs/demo/scene',
        '--mosaic',
        '4096',
    )
    head = args.heads[0]
    minutes['predict'] = step(
        'Find its objects by windows, as a layer for QGIS and as a picture',
        'tools/predict.py',
        FINETUNE_CONFIG.format(head=head),
        f'work_dirs/demo/finetune_{head}/latest.pth',
        'work_dirs/demo/scene/scene.tif',
        '--out',
        'work_dirs/demo/scene/found',
        '--size',
        '256',
        '--score-thr',
        '0.5',
        '--format',
        'gpkg',
        'overlay',
    )
    total = (time.monotonic() - start) / 60
    report(folder, args.heads, total, minutes)


def report(folder: Path, heads: list[str], total: float, seconds: dict[str, float]) -> None:
    """Write ``metrics.json`` and print the table."""
    metrics: dict[str, object] = {}
    print('\n| head | box AP | box AP50 | mask AP | mask AP50 |\n|---|---|---|---|---|')
    for head in heads:
        found = json.loads((folder / f'test_{head}' / 'metrics.json').read_text())
        metrics[head] = {name: found[f'coco/{name}'] for name in METRICS}
        print(
            f'| {head} | ' + ' | '.join(f'{found[f"coco/{name}"]:.3f}' for name in METRICS) + ' |'
        )
    metrics['scene'] = counts = count_objects(folder / 'scene')
    metrics['minutes'] = round(total, 2)
    (folder / 'metrics.json').write_text(json.dumps(metrics, indent=2) + '\n')
    parts = ', '.join(f'{name} {value / 60:.1f}' for name, value in seconds.items())
    print(f'\n{total:.1f} minutes ({parts})')
    print(
        f'The scene has {counts["truth"]} objects; {counts["found"]} were found, {counts["right"]} of '
        'them with a mask of IoU 0.5 and more and the right class.'
    )
    print('Layer: work_dirs/demo/scene/found/predictions.gpkg')
    print('Overview: work_dirs/demo/scene/found/overlays/scene.png')
    print('Picture: work_dirs/demo/predictions.png   Figures: work_dirs/demo/metrics.json')


def count_objects(folder: Path) -> dict[str, int]:
    """Compare the layer that was found in a scene with the true one; each true object counts once."""
    import shapely

    from rs4d.geo.layers import read_layer

    truth = read_layer(folder / 'truth.gpkg', 'truth', 'class')
    found = read_layer(folder / 'found' / 'predictions.gpkg', 'predictions', 'class')
    pairs = shapely.STRtree(truth.geometries).query(found.geometries, predicate='intersects')
    right = set()
    for mine, true in pairs.T.tolist():
        a, b = found.geometries[mine], truth.geometries[true]
        both = a.intersection(b).area
        if found.classes[mine] == truth.classes[true] and 2 * both >= a.area + b.area - both:
            right.add(true)
    return dict(truth=len(truth.classes), found=len(found.classes), right=len(right))


if __name__ == '__main__':
    main()
