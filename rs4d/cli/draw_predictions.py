"""Draw truth and predictions side by side: one row an image, one column a model.

Each prediction file is what tools/test.py --out wrote. Without --images, the images shown are spread
evenly over those that have instances.
Example: python tools/analysis_tools/draw_predictions.py bbox.json prompt.json
    --annotations data/SSDD/annotations/SSDD_instances_val.json --image-dir data/SSDD/imgs --out a.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
from pycocotools.coco import COCO

from rs4d.cli.common import run_tool
from rs4d.errors import SetupError
from rs4d.evaluation import read_results
from rs4d.visualization import choose_images, draw_prediction_grid


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('predictions', nargs='+', type=Path, help='files of tools/test.py --out')
    parser.add_argument('--annotations', type=Path, required=True, help='COCO file with the truth')
    parser.add_argument('--image-dir', type=Path, required=True, help='folder of the images')
    parser.add_argument('--out', type=Path, required=True, help='PNG or JPEG to write')
    parser.add_argument('--names', nargs='+', help='column titles; default: the file names')
    parser.add_argument('--images', nargs='+', help='ids or file names of the images to show')
    parser.add_argument('--rows', type=int, default=6, help='images to show without --images')
    parser.add_argument('--score-thr', type=float, default=0.5, help='lowest score drawn')
    return parser.parse_args(argv)


def draw(args: argparse.Namespace) -> None:
    """Draw the grid and write it."""
    names = args.names or [path.stem for path in args.predictions]
    if len(names) != len(args.predictions):
        raise SetupError(
            f'--names has {len(names)} titles for {len(args.predictions)} prediction files; give one '
            'for each.'
        )
    if len(set(names)) != len(names):
        raise SetupError(
            f'Two columns have the same title: {names}. Set different ones by --names.'
        )
    for option, path in (('--annotations', args.annotations), ('--image-dir', args.image_dir)):
        if not path.exists():
            raise SetupError(f"{option} '{path}' does not exist. Give the path of the data's own.")
    if args.out.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        raise SetupError(f"--out '{args.out}': end the picture's name in .png or .jpg.")
    try:
        coco = COCO(args.annotations)
    except (ValueError, KeyError, AssertionError) as error:
        raise SetupError(
            f"--annotations '{args.annotations}' is not a COCO file: {error!r}. Give the file that "
            "the config's test_evaluator names."
        ) from error
    categories = sorted(coco.getCatIds())
    predictions = {
        name: read_results(path, categories)
        for name, path in zip(names, args.predictions, strict=True)
    }
    chosen = choose_images(coco, args.images, args.rows)
    grid = draw_prediction_grid(coco, args.image_dir, predictions, chosen, args.score_thr)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.out), grid):
        raise SetupError(f"--out '{args.out}' could not be written. Choose a folder with space.")
    print(f'Wrote {args.out}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('draw_predictions', lambda: draw(args))


if __name__ == '__main__':
    sys.exit(main())
