"""A scene, tile by tile: read ahead, predicted in batches."""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from rs4d.datasets.transforms import LoadRaster
from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import Georeference
from rs4d.geo.outlines import geodesic_area
from rs4d.geo.raster import Raster
from rs4d.geo.raster_file import file_of, is_local, short_name
from rs4d.geo.window import Window

from .journal import Entry
from .pieces import pieces_of
from .reading import WindowReader, orientation_of, upright_place
from .results import Instances
from .tiles import Tile, TilePlan

T = TypeVar('T')


@dataclass(frozen=True)
class Limit:
    """How many objects of one image a model gives at most, and the setting that says so."""

    setting: str
    count: int


class Detector(Protocol):
    """What finds objects in windows: a `Predictor`, or what stands in its place."""

    loader: Any
    classes: tuple[str, ...]
    limit: Limit | None

    def load(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Load an image as a whole."""

    def prepare(self, image: np.ndarray) -> Any:
        """Make a loaded image ready; may run beside `infer` in a thread."""

    def infer(self, prepared: Sequence[Any]) -> list[Instances]:
        """Find the objects of a batch."""


@dataclass(frozen=True)
class Scene:
    """One input, as its header describes it.

    Attributes:
        path: What was given.
        plan: How it is cut.
        georeference: Where it lies; None for a picture.
        orientation: Of an image that is loaded upright, EXIF's; the scene, and where it lies, is that
            of what is upright.
    """

    path: str
    plan: TilePlan
    georeference: Georeference | None
    orientation: int = 1

    @classmethod
    def open(cls, path: str, loader: Any, size: int, overlap: int, whole: bool = False) -> 'Scene':
        """Look at an input's header.

        Pictures without a georeference that are at most twice as large as a window are predicted as
        they are in a test: as a whole, at the size that the config's pipeline makes of them.

        Args:
            path: The input.
            loader: The first step of the config's test pipeline.
            size: Side of a window.
            overlap: What windows share.
            whole: Predict everything as a whole.

        Raises:
            UserError: It cannot be read, or does not say where it lies in a way that can be followed.
        """
        with Raster.open(path) as raster:
            height, width, place = raster.height, raster.width, raster.georeference
        orientation = orientation_of(path, loader)
        height, width = (width, height) if orientation >= 5 else (height, width)
        place = upright_place(place, orientation, height, width)
        if whole or (place is None and max(height, width) <= 2 * size and file_of(path)):
            size = 0
        return cls(path, TilePlan(height, width, size, overlap), place, orientation)

    @property
    def name(self) -> str:
        """The input's name without folder and ending; see `short_name`."""
        return short_name(self.path)

    @property
    def file_name(self) -> str:
        """The input's name without folder, and without an address's query, which may hold a key."""
        holder = file_of(self.path)
        if holder is None:
            return Path(re.split('[?#]', self.path)[0]).name
        return self.path.replace(holder, Path(holder).name)

    @property
    def source(self) -> str:
        """Where the input is: a file with all its folders, or an address without its query."""
        holder = file_of(self.path)
        if holder is None:
            return re.split('[?#]', self.path)[0]
        return os.path.join(os.path.dirname(os.path.abspath(holder)), self.file_name)

    def area(self, tile: Tile) -> float:
        """Square kilometres of a tile's core, or millions of pixels where that is not known."""
        pixels = tile.core.height * tile.core.width
        return pixels * self.pixel_area

    @property
    def pixel_area(self) -> float:
        """That of one pixel in the middle of the scene."""
        if self.georeference is None:
            return 1e-6
        shapely = geo_library('shapely', 'Measuring an area')
        x, y = self.plan.width / 2, self.plan.height / 2
        pixel = self.georeference.to_map(shapely.box(x, y, x + 1, y + 1))
        area = geodesic_area(pixel, self.georeference.crs)
        return 1e-6 if area is None or not np.isfinite(area) else area / 1e6


def predict_tiles(
    detector: Detector, scene: Scene, numbers: Iterable[int], batch_size: int
) -> Iterator[Entry]:
    """Predict tiles of a scene, the next batch being read while one is computed.

    Args:
        detector: What finds objects.
        scene: Of what.
        numbers: Which tiles, in which order.
        batch_size: How many windows go through the model at once; those without data do not count.

    Yields:
        What was found, a batch at a time.

    Raises:
        UserError: The scene is damaged somewhere.
    """
    if not scene.plan.size:
        for number in numbers:
            tile = scene.plan[number]
            image = _whole(detector, scene, tile)
            if image is None:
                yield Entry([number], [], 1)
                continue
            (one,) = detector.infer([detector.prepare(image)])
            yield Entry([number], pieces_of(tile, one, 0), full=_full(detector, [tile], [one]))
        return
    with Raster.open(scene.path) as raster:
        reader = WindowReader(raster, detector.loader, scene.orientation)
        batches = _batches(reader.read, (scene.plan[number] for number in numbers), batch_size)
        for tiles, images, covered in ahead(batches):
            # Not in the thread that reads: PyTorch gives each thread that computes threads of its own,
            # which took a third of a small model's time.
            found = detector.infer([detector.prepare(image) for image in images])
            pieces = [
                piece
                for tile, one in zip(tiles, found, strict=True)
                for piece in pieces_of(tile, one, scene.plan.overlap)
            ]
            full = _full(detector, tiles, found)
            yield Entry(covered, pieces, len(covered) - len(tiles), full)


def _whole(detector: Detector, scene: Scene, tile: Tile) -> np.ndarray | None:
    """Load a scene that is one tile; None if none of its pixels has data."""
    if is_local(scene.path) or isinstance(detector.loader, LoadRaster):
        return detector.load(scene.path)
    # Steps that load pictures know nothing but files.
    with Raster.open(scene.path) as raster:
        return WindowReader(raster, detector.loader).read(tile.window)


def _full(detector: Detector, tiles: Sequence[Tile], found: Sequence[Instances]) -> list[int]:
    """The tiles that show as many objects as the model gives."""
    most = detector.limit.count if detector.limit else math.inf
    return [tile.number for tile, one in zip(tiles, found, strict=True) if len(one) >= most]


def _batches(
    read: Callable[[Window], Any], tiles: Iterable[Tile], batch_size: int
) -> Iterator[tuple[list[Tile], list[Any], list[int]]]:
    """Tiles with data and their images, and the numbers of all tiles since the batch before."""
    full: list[Tile] = []
    images: list[Any] = []
    covered: list[int] = []
    for tile in tiles:
        image = read(tile.window)
        covered.append(tile.number)
        if image is not None:
            full.append(tile)
            images.append(image)
        if len(full) == batch_size:
            yield full, images, covered
            full, images, covered = [], [], []
    if covered:
        yield full, images, covered


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each made by a thread while the one before is worked on."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]
