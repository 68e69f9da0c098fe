"""The images with the most errors, small, with outlines of truth and predictions to lay over them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from rs4d.errors import UserError
from rs4d.evaluation import ImageCounts
from rs4d.visualization import load_picture

from .figures import RunFigures

# The longer side of a picture, in pixels.
SIDE = 640
QUALITY = 80
# Below this score predictions are not drawn, unless the best threshold is lower; nor those behind the
# best of an image, unless they reach it: they would weigh more than the pictures.
LOWEST_SCORE = 0.05
MOST_FOUND = 30


@dataclass(frozen=True)
class Shape:
    """An outline over a picture.

    Attributes:
        path: SVG path data, in pixels of the picture.
        label: The class.
        scores: Of a detection its score alone; of an instance, for each run the score of the
            detection that found it, None if there is none.
        right: Whether a detection found an instance.
    """

    path: str
    label: str
    scores: tuple[float | None, ...]
    right: bool = False


@dataclass(frozen=True)
class Picture:
    """An image and what lies on it.

    Attributes:
        name: The file's name.
        source: The picture as a data address; empty if the file is not there.
        width: Of the picture, in pixels.
        height: Likewise.
        counts: Each run's counts.
        change: Errors of the last run less those of the first.
        truths: Instances that count.
        found: Each run's detections, the best last, so that they lie on top.
    """

    name: str
    source: str
    width: int
    height: int
    counts: tuple[ImageCounts, ...]
    change: int
    truths: list[Shape]
    found: list[list[Shape]]

    @property
    def missed(self) -> int:
        """Instances that were missed, in all runs together."""
        return sum(one.missed for one in self.counts)

    @property
    def wrong(self) -> int:
        """False alarms, in all runs together."""
        return sum(one.wrong for one in self.counts)


def draw_pictures(
    runs: Sequence[RunFigures], count: int, folder: Path | None = None
) -> list[Picture]:
    """Draw the images with the most misses, the most false alarms, and the greatest change.

    Args:
        runs: Their figures.
        count: How many images of each.
        folder: Where the images are, if they are no longer where they were when they were scored.

    Raises:
        UserError: An image is there but is not the one that was scored, or does not decode.
    """
    return [_draw(runs, number, folder) for number in choose(runs, count)]


def choose(runs: Sequence[RunFigures], count: int) -> list[int]:
    """Return the numbers of the images to show, those with the most misses first."""
    missed, wrong = (
        np.array([[getattr(image, name) for image in one.images] for one in runs]).sum(axis=0)
        for name in ('missed', 'wrong')
    )
    changed = np.abs(_errors(runs[-1]) - _errors(runs[0]))
    chosen: dict[int, None] = {}
    for ranks in (missed, wrong, changed):
        order = np.argsort(-ranks, kind='stable')[:count]
        chosen |= dict.fromkeys(order[ranks[order] > 0].tolist())
    return list(chosen)


def _errors(one: RunFigures) -> np.ndarray:
    return np.array([image.missed + image.wrong for image in one.images])


def _draw(runs: Sequence[RunFigures], number: int, folder: Path | None) -> Picture:
    truth = runs[0].run.test.truth
    entry = truth.imgs[runs[0].main.matches.image_ids[number]]
    scale = min(1.0, SIDE / max(entry['width'], entry['height']))
    size = max(round(entry['width'] * scale), 1), max(round(entry['height'] * scale), 1)
    images = [one.main.matches.by_image[number] for one in runs]
    truths = []
    for place in np.flatnonzero(images[0].counts).tolist():
        annotation = truth.anns[int(images[0].truths[place])]
        finders = [int(image.finders[place]) for image in images]
        scores = tuple(
            float(image.scores[finder]) if finder >= 0 else None
            for image, finder in zip(images, finders, strict=True)
        )
        path = _outline(annotation, truth.annToRLE, scale, runs[0].main.matches.kind)
        truths.append(Shape(path, _name(runs[0], images[0].truth_labels[place]), scores))
    names = [Path(image['file_name']).name for image in truth.imgs.values()]
    name = Path(entry['file_name']).name
    counts = tuple(one.images[number] for one in runs)
    errors = [one.missed + one.wrong for one in counts]
    return Picture(
        name=Path(entry['file_name'] or entry.get('path', '')).name or str(entry['id']),
        source=_source(entry, folder, size, names.count(name) == 1),
        width=size[0],
        height=size[1],
        counts=counts,
        change=errors[-1] - errors[0],
        truths=truths,
        found=[_found(one, number, scale) for one in runs],
    )


def _found(one: RunFigures, number: int, scale: float) -> list[Shape]:
    image = one.main.matches.by_image[number]
    best = one.main.best.threshold
    shown = (image.scores >= min(LOWEST_SCORE, best)) & ~image.ignored
    shown &= (image.scores >= best) | (np.cumsum(shown) <= MOST_FOUND)
    return [
        Shape(
            _outline(
                one.run.test.predictions[int(image.detections[place])],
                lambda found: found['segmentation'],
                scale,
                one.main.matches.kind,
            ),
            _name(one, image.labels[place]),
            (float(image.scores[place]),),
            right=bool(image.found[place] >= 0),
        )
        for place in np.flatnonzero(shown)[::-1].tolist()
    ]


def _name(one: RunFigures, label: int) -> str:
    return one.main.matches.classes[int(label)]


def _outline(entry: Mapping[str, Any], run_lengths: Any, scale: float, kind: str) -> str:
    """Return an instance's outline as SVG path data, in pixels of the picture."""
    if kind == 'bbox':
        x, y, width, height = (round(value * scale, 1) for value in entry['bbox'])
        return f'M{x} {y}h{width}v{height}h{-width}z'
    mask = coco_mask.decode(run_lengths(entry))
    lines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    path = ''
    for line in lines:
        # Contours run through centres of pixels, a half from where pixels begin.
        points = (cv2.approxPolyDP(line, 0.6, True)[:, 0] + 0.5) * scale
        path += 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points) + 'z'
    return path


def _source(
    entry: Mapping[str, Any], folder: Path | None, size: tuple[int, int], alone: bool
) -> str:
    """Return an image as the address of its data, or nothing if its file is not there.

    Without its own folder it is looked for only if it is ``alone`` in having its name.
    """
    places = [folder / entry['file_name']] if folder else []
    if folder and alone:
        places.append(folder / Path(entry['file_name']).name)
    places += [Path(entry['path'])] if entry.get('path') else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return ''
    image = load_picture(path, (entry['width'], entry['height']))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError(f"'{path}' could not be written as a JPEG of {size[0]}x{size[1]} pixels.")
    return 'data:image/jpeg;base64,' + base64.b64encode(content.tobytes()).decode('ascii')
