"""Scenes and a layer of polygons into tiles with COCO annotations beside them."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from rs4d.errors import some
from rs4d.files import refuse_existing, write_json
from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import Georeference
from rs4d.geo.labels import Labels, labels_in_raster, outside
from rs4d.geo.layers import Layer
from rs4d.geo.raster import Raster
from rs4d.geo.raster_file import short_name
from rs4d.geo.window import Window, grid

from .annotations import OBJECT, REST, pieces, rests, to_coco, to_rings
from .ground import refuse_shared_ground
from .plan import SPLITS, SplitOptions, Tile, TilingError, divide
from .scene_files import write_tile

IMAGES = 'images'


@dataclass(frozen=True)
class TilingOptions:
    """How scenes are cut.

    Attributes:
        size: Side of a tile in pixels.
        overlap: Pixels that neighbours share.
        min_visible: Share of an object's area below which a tile's piece of it is ``iscrowd``.
        split: How tiles are divided.
        classes: The classes in their order; all of the layer, by name, if empty.
    """

    size: int = 512
    overlap: int = 64
    min_visible: float = 0.3
    split: SplitOptions = field(default_factory=SplitOptions)
    classes: Sequence[str] = ()


@dataclass
class Tiled:
    """What was written.

    Attributes:
        files: The annotation files by split.
        counts: By split and kind: 'tiles', 'objects', 'crowds', 'empty tiles', 'without data'.
        left_out: Why features of the layer are in no scene, by scene.
        classes: The classes in the order of their ids, which start at 1.
    """

    files: dict[str, Path]
    counts: dict[str, Counter[str]]
    left_out: dict[str, Counter[str]]
    classes: list[str]


@dataclass
class _Scene:
    path: str
    name: str
    raster: Raster
    georeference: Georeference
    labels: Labels
    tree: Any


def tile(
    scenes: Sequence[str | os.PathLike[str]],
    layer: Layer,
    out: str | os.PathLike[str],
    options: TilingOptions | None = None,
    overwrite: bool = False,
) -> Tiled:
    """Cut scenes into tiles; nothing is written before all scenes and labels have been looked at.

    Args:
        scenes: Rasters; each is read by windows.
        layer: The polygons, in any coordinate system.
        out: Folder for ``images/*.tif``, ``train.json`` and ``val.json``.
        options: How.
        overwrite: Replace annotation files that are there.

    Raises:
        RasterError: A scene cannot be read.
        TilingError: A split would be left without objects, or with ground of the other one.
        LayerError: The layer has no polygon, touches no scene, or cannot be placed.
        GeoreferenceError: A scene is placed in a way that cannot be followed.
        ExistingFileError: There are annotation files in ``out``.
    """
    options = options or TilingOptions()
    out = Path(out)
    splits = SPLITS if options.split.val else SPLITS[:1]
    files = {split: out / f'{split}.json' for split in splits}
    if not overwrite:
        refuse_existing(*files.values())
    with ExitStack() as stack:
        opens = list(_open(scenes, layer, stack))
        classes = _classes(opens, layer, options)
        plan, shown = _plan(opens, options)
        parts = divide(plan, options.split)
        if options.split.val:
            refuse_shared_ground(
                [(scene.path, scene.georeference) for scene in opens],
                *([plan[number] for number in parts[split]] for split in SPLITS),
            )
        contents: dict[str, dict[str, Any]] = {}
        counts: dict[str, Counter[str]] = {}
        for split in splits:
            contents[split], counts[split] = _write(
                [(plan[number], shown[number]) for number in parts[split]], opens, classes, out
            )
        rest = _rests(
            opens, [image for content in contents.values() for image in content['images']]
        )
        for split, content in contents.items():
            objects = {item[OBJECT] for item in content['annotations']}
            content[REST] = [item for item in rest if item[OBJECT] in objects]
            content['info'] = _info(opens, layer, options)
            write_json(files[split], content)
    left_out = {scene.name: scene.labels.left_out for scene in opens}
    return Tiled(files, counts, left_out, classes)


def _open(
    paths: Sequence[str | os.PathLike[str]], layer: Layer, stack: ExitStack
) -> Iterator[_Scene]:
    """Open scenes and bring the layer to each; names of files that occur twice get a number."""
    shapely = geo_library('shapely', 'Cutting labels into tiles')
    found = []
    taken: set[str] = set()
    error = None
    for path in (os.fspath(path) for path in paths):
        raster = stack.enter_context(Raster.open(path))
        georeference = raster.georeference
        size = raster.height, raster.width
        labels = labels_in_raster(layer, georeference, *size, path)
        assert georeference is not None, 'labels_in_raster refuses such scenes'
        if not len(labels.polygons):
            error = error or outside(layer, georeference, *size, path)
        stem = short_name(path)
        numbered = (f'{stem}-{number}' for number in count(2))
        # Another scene may have such a name of itself.
        name = next(name for name in chain([stem], numbered) if name not in taken)
        taken.add(name)
        tree = shapely.STRtree(labels.polygons)
        found.append(_Scene(path, name, raster, georeference, labels, tree))
    if error and not any(len(scene.labels.polygons) for scene in found):
        raise error
    yield from found


def _classes(scenes: Sequence[_Scene], layer: Layer, options: TilingOptions) -> list[str]:
    there = sorted({name for scene in scenes for name in scene.labels.classes})
    if not options.classes:
        return there
    unknown = sorted(set(there) - set(options.classes))
    if unknown:
        raise TilingError(
            f"'{layer.path}' has classes that --classes does not name: {some(unknown, 20)}. Name them, "
            'or take their features out of the layer.'
        )
    return list(options.classes)


def _plan(scenes: Sequence[_Scene], options: TilingOptions) -> tuple[list[Tile], list[list[Any]]]:
    """All tiles, and what each shows."""
    tiles, shown = [], []
    for number, scene in enumerate(scenes):
        height, width = scene.raster.height, scene.raster.width
        for window in grid(height, width, options.size, options.overlap):
            found = pieces(scene.labels.polygons, scene.tree, window, options.min_visible)
            tiles.append(Tile(number, window, len(found)))
            shown.append(found)
    return tiles, shown


def _write(
    tiles: Sequence[tuple[Tile, list[Any]]],
    scenes: Sequence[_Scene],
    classes: Sequence[str],
    out: Path,
) -> tuple[dict[str, Any], Counter[str]]:
    """Write the tiles of a split, and return its annotations and what was counted."""
    ids = {name: number for number, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for item, found in tiles:
        scene, window = scenes[item.scene], item.window
        file = f'{IMAGES}/{scene.name}_{window.row:06d}_{window.col:06d}.tif'
        transform = scene.georeference.window_transform(window)
        crs = scene.raster.dataset.crs or scene.raster.dataset.gcps[1]
        if not write_tile(scene.raster, window, transform, crs, out / file):
            counts['without data'] += 1
            print_log(f'{file}: no valid pixel, left out.', 'current', logging.DEBUG)
            continue
        size = dict(height=window.height, width=window.width)
        image = dict(id=len(images) + 1, file_name=file, **size, scene=scene.name)
        images.append(image | dict(window=[window.row, window.col, window.height, window.width]))
        counts['tiles'] += 1
        counts['empty tiles'] += not found
        for number, polygon, crowd in found:
            counts['crowds' if crowd else 'objects'] += 1
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image['id'],
                    'category_id': ids[scene.labels.classes[number]],
                    'iscrowd': int(crowd),
                    OBJECT: int(scene.labels.features[number]),
                }
                | to_coco(polygon, **size)
            )
    categories = [dict(id=number, name=name) for name, number in ids.items()]
    return dict(images=images, categories=categories, annotations=annotations), counts


def _rests(scenes: Sequence[_Scene], images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the written tiles don't show of the objects in them."""
    found = []
    for scene in scenes:
        windows = []
        for image in images:
            if image['scene'] == scene.name:
                row, col, height, width = image['window']
                windows.append(Window(row, col, height, width))
        for number, polygon in rests(scene.labels.polygons, windows):
            feature = int(scene.labels.features[number])
            found.append({OBJECT: feature, 'scene': scene.name, 'outline': to_rings(polygon)})
    return found


def _info(scenes: Sequence[_Scene], layer: Layer, options: TilingOptions) -> dict[str, Any]:
    """What the tiles were made of."""
    return dict(
        labels=f'{layer.path}|{layer.name}',
        size=options.size,
        overlap=options.overlap,
        min_visible=options.min_visible,
        split=vars(options.split),
        scenes=[
            dict(
                name=scene.name,
                path=scene.path,
                height=scene.raster.height,
                width=scene.raster.width,
                transform=list(scene.georeference.transform)[:6],
                crs=scene.georeference.crs and scene.georeference.crs.to_wkt(),
            )
            for scene in scenes
        ],
    )
