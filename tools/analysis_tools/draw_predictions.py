"""Draw truth and predictions side by side: one row an image, one column a model.

Each prediction file is what ``tools/test.py --out`` wrote. The images shown are spread evenly over
those that have instances.
"""

import argparse
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools.coco import COCO

from rs4d.visualization import draw_prediction_grid


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('predictions', nargs='+', type=Path, help='files of tools/test.py --out')
    parser.add_argument('--annotations', type=Path, required=True, help='COCO file with the truth')
    parser.add_argument('--images', type=Path, required=True, help='folder of the images')
    parser.add_argument('--out', type=Path, required=True, help='PNG or JPEG to write')
    parser.add_argument('--names', nargs='+', help='column titles; default: the file names')
    parser.add_argument('--rows', type=int, default=6, help='images to show')
    parser.add_argument('--score-thr', type=float, default=0.5, help='lowest score drawn')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw the grid and write it."""
    args = parse_args(argv)
    names = args.names or [path.stem for path in args.predictions]
    if len(names) != len(args.predictions):
        sys.exit(f'--names has {len(names)} titles for {len(args.predictions)} prediction files.')
    for path in (*args.predictions, args.annotations, args.images):
        if not path.exists():
            sys.exit(f'{path} is not there.')
    coco = COCO(args.annotations)
    with_instances = sorted({ann['image_id'] for ann in coco.anns.values()})
    if not with_instances:
        sys.exit(f'{args.annotations} has no instances to draw.')
    count = min(args.rows, len(with_instances))
    chosen = np.linspace(0, len(with_instances) - 1, count).round().astype(int)
    # The files are the user's own, written by tools/test.py.
    predictions = {
        name: pickle.loads(path.read_bytes())
        for name, path in zip(names, args.predictions, strict=True)
    }
    grid = draw_prediction_grid(
        coco, args.images, predictions, [with_instances[i] for i in chosen], args.score_thr
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.out), grid):
        sys.exit(f'{args.out} could not be written; it needs a .png or .jpg name and space.')
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    main()
