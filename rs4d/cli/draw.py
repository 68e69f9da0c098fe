"""Draw truth and predictions side by side: one row an image, one column a model.

Each prediction file is what `rs4d test --out` wrote. Without --images, the images shown are spread
evenly over those that have instances.
Example: rs4d draw bbox.json prompt.json --annotations data/SSDD/annotations/SSDD_instances_val.json
    --image-dir data/SSDD/imgs --out a.png
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is drawn, and where to."""
    add = parser.add_argument
    add('predictions', nargs='+', type=Path, help='files of rs4d test --out')
    add('--annotations', type=Path, required=True, help='COCO file with the truth')
    add('--image-dir', type=Path, required=True, help='folder of the images')
    add('--out', type=Path, required=True, help='PNG or JPEG to write')
    add('--names', nargs='+', help='column titles; default: the file names')
    add('--images', nargs='+', help='ids or file names of the images to show')
    add('--rows', type=int, default=6, help='images to show without --images')
    add('--score-thr', type=float, default=0.5, help='lowest score drawn')


def run(args: argparse.Namespace) -> None:
    """Draw the grid and write it."""
    import cv2

    from rs4d.datasets.annotation_checks import check_annotations
    from rs4d.datasets.coco_file import CocoIndex, read_coco
    from rs4d.errors import ConfigError, some
    from rs4d.evaluation import read_results
    from rs4d.visualization import choose_images, draw_prediction_grid

    names = args.names or [path.stem for path in args.predictions]
    if len(names) != len(args.predictions):
        raise ConfigError(
            f'--names has {len(names)} titles for {len(args.predictions)} prediction files; give one '
            'for each.'
        )
    if len(set(names)) != len(names):
        raise ConfigError(
            f'Two columns have the same title: {names}. Set different ones by --names.'
        )
    if not args.image_dir.is_dir():
        raise ConfigError(f"--image-dir '{args.image_dir}' is no folder. Give that of the images.")
    if args.out.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        raise ConfigError(f"--out '{args.out}': end the picture's name in .png or .jpg.")
    truth = read_coco(
        args.annotations, "Let --annotations be the config's test_evaluator.ann_file."
    )
    check_annotations(truth, ()).refuse(args.annotations, log=False)
    coco = CocoIndex(truth)
    categories = coco.getCatIds()  # labels are numbered in the order of the file
    predictions = {
        name: read_results(path, categories)
        for name, path in zip(names, args.predictions, strict=True)
    }
    chosen = choose_images(coco, args.images, args.rows)
    grid = draw_prediction_grid(coco, args.image_dir, predictions, chosen, args.score_thr)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.out), grid):
        raise ConfigError(f"--out '{args.out}' could not be written. Choose a folder with space.")
    print(f'Wrote {args.out}')
    for name, found in predictions.items():
        predicted = {instance['image_id'] for instance in found}
        without = [coco.imgs[key]['file_name'] for key in chosen if key not in predicted]
        if without:
            print(f'{name} predicts nothing on {some(without)}; they are drawn as they are.')
