"""What a prediction leaves behind: layers of polygons, COCO results, pictures."""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from rs4d.datasets.image_reading import stored_points
from rs4d.errors import ConfigError
from rs4d.files import write_json
from rs4d.geo.extra import geo_library
from rs4d.geo.layers import write_layer
from rs4d.geo.outlines import geodesic_area, polygon_to_mask, polygonal

from .joining import Found
from .overlays import write_overlay
from .scene import Scene

LAYERS = ('gpkg', 'fgb', 'parquet', 'geojson')
FORMATS = (*LAYERS, 'coco', 'overlay')
NAME = 'predictions'


@dataclass(frozen=True)
class Origin:
    """Where results come from, as attributes of every feature.

    Attributes:
        model: The checkpoint.
        config: Of the model.
        version: Of RS4D.
    """

    model: str
    config: str
    version: str


def require_formats(formats: Sequence[str], scenes: Sequence[Scene]) -> None:
    """Raise if results of some scene could not be written, before anything is computed.

    Raises:
        ConfigError: GeoJSON is asked for, and a scene does not say where on Earth it lies.
    """
    for scene in scenes:
        place = scene.georeference
        if 'geojson' in formats and (place is None or place.crs is None):
            raise ConfigError(
                f"'{scene.path}' does not say in which coordinate system it lies, so that its objects "
                'have no longitude and latitude for a GeoJSON. Leave geojson out of --format.'
            )


def expected_files(out: Path, formats: Sequence[str]) -> list[Path]:
    """The files of an ordinary run; scenes of several coordinate systems have more."""
    files = [out / f'{NAME}.{suffix}' for suffix in formats if suffix in LAYERS]
    return files + ([out / f'{NAME}.json'] if 'coco' in formats else [])


def write_outputs(
    out: Path,
    results: Sequence[tuple[Scene, Sequence[Found]]],
    classes: Sequence[str],
    formats: Sequence[str],
    origin: Origin,
    simplify: float = 0.0,
    loader: Any = None,
) -> list[Path]:
    """Write what was found, each file whole or not at all.

    Args:
        out: The folder.
        results: Scenes, and their objects.
        classes: Names of the classes.
        formats: Of :data:`FORMATS`.
        origin: Where results come from.
        simplify: By how many pixels outlines may change to have fewer corners.
        loader: The config's loading step, which overlays are stretched by.

    Returns:
        The files.

    Raises:
        FileWriteError: One cannot be written.
    """
    files = []
    if set(formats) & set(LAYERS):
        files += _write_layers(out, results, classes, formats, origin, simplify)
    if 'coco' in formats:
        files.append(out / f'{NAME}.json')
        write_json(files[-1], coco_results(results, classes))
    if 'overlay' in formats:
        names: set[str] = set()
        for scene, found in results:
            name = _unused(scene.name, names)
            files.append(out / 'overlays' / f'{name}.png')
            write_overlay(files[-1], scene, found, loader)
    return files


def _write_layers(
    out: Path,
    results: Sequence[tuple[Scene, Sequence[Found]]],
    classes: Sequence[str],
    formats: Sequence[str],
    origin: Origin,
    simplify: float,
) -> list[Path]:
    """One layer for each coordinate system that there is."""
    systems: dict[str, list[tuple[Scene, Sequence[Found]]]] = {}
    for scene, found in results:
        place = scene.georeference
        key = '' if place is None or place.crs is None else place.crs.to_wkt()
        systems.setdefault(f'{place is not None}{key}', []).append((scene, found))
    files = []
    names: set[str] = set()
    for members in systems.values():
        place = members[0][0].georeference
        crs = None if place is None else place.crs
        name = NAME
        if len(systems) > 1:
            label = '_'.join(crs.to_authority() or ('local',)) if crs else 'pixels'
            name = _unused(f'{NAME}_{label}', names)
        geometries, attributes = features(members, classes, origin, simplify)
        for suffix in LAYERS:
            if suffix in formats:
                file = out / f'{name}.{suffix}'
                write_layer(file, geometries, attributes, crs, styled_classes=classes)
                files.append(file)
    return files


def features(
    results: Sequence[tuple[Scene, Sequence[Found]]],
    classes: Sequence[str],
    origin: Origin,
    simplify: float = 0.0,
) -> tuple[list[Any], dict[str, Any]]:
    """Geometries on the map, and attributes, of the objects of scenes.

    Pictures without a place have their columns as x and their rows, downwards, as negative y, as QGIS
    shows them, which does not turn them by EXIF's orientation.
    """
    geometries: list[Any] = []
    names: list[str] = []
    scores: list[float] = []
    areas: list[float | None] = []
    sources: list[str] = []
    labels = scene_names([scene.source for scene, _ in results])
    for (scene, found), label in zip(results, labels, strict=True):
        for one in found:
            shape = _on_map(scene, simplified(one.polygon, simplify))
            geometries.append(shape)
            names.append(classes[one.label])
            scores.append(round(one.score, 6))
            place = scene.georeference
            areas.append(geodesic_area(shape, None if place is None else place.crs))
            sources.append(label)
    today = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
    count = len(geometries)
    return geometries, {
        'class': names,
        'score': np.array(scores, np.float64),
        'area': np.array([math.nan if a is None else a for a in areas], np.float64),
        'scene': sources,
        'model': [origin.model] * count,
        'config': [origin.config] * count,
        'date': [today] * count,
        'version': [origin.version] * count,
    }


def scene_names(paths: Sequence[str]) -> list[str]:
    """What tells scenes apart: the file's name, with folders before it where others have the same.

    Addresses that differ in nothing but their query are numbered, as it may hold a key.
    """
    parts = [path.split('/') for path in paths]
    names = []
    for number, own in enumerate(parts):
        others = [other for other in parts if other != own]
        count = 1
        while any(other[-count:] == own[-count:] for other in others):
            count += 1
        name = '/'.join(own[-count:])
        same = parts[:number].count(own)
        names.append(f'{name} ({same + 1})' if same else name)
    return names


def simplified(polygon: Any, tolerance: float) -> Any:
    """An outline with fewer corners, off the exact one by ``tolerance`` pixels at most; still valid."""
    if not tolerance:
        return polygon
    shapely = geo_library('shapely', 'Simplifying an outline')
    simpler = polygonal(shapely.simplify(polygon, tolerance, preserve_topology=True))
    return polygon if simpler.is_empty else simpler


def _on_map(scene: Scene, polygon: Any) -> Any:
    if scene.georeference is None:
        shapely = geo_library('shapely', 'Moving geometries')
        plan, turn = scene.plan, scene.orientation
        return shapely.transform(
            polygon, lambda xy: stored_points(xy, turn, plan.height, plan.width) * (1, -1)
        )
    return scene.georeference.to_map(polygon)


def coco_results(
    results: Sequence[tuple[Scene, Sequence[Found]]], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """COCO's results: images and categories are counted from 1, and named as well."""
    return [
        dict(
            image_id=number,
            file_name=scene.path,
            category_id=one.label + 1,
            category_name=classes[one.label],
            score=round(one.score, 6),
            bbox=_box(one.polygon),
            segmentation=polygon_rle(one.polygon, scene.plan.height, scene.plan.width),
        )
        for number, (scene, found) in enumerate(results, 1)
        for one in found
    ]


def _box(polygon: Any) -> list[float]:
    x0, y0, x1, y1 = polygon.bounds
    return [x0, y0, x1 - x0, y1 - y0]


def polygon_rle(polygon: Any, height: int, width: int) -> dict[str, Any]:
    """COCO's run lengths of a polygon along pixel edges, without a mask of the whole image.

    Args:
        polygon: In pixels.
        height: Rows of the image.
        width: Columns of the image.
    """
    x0, y0, x1, y1 = (round(edge) for edge in polygon.bounds)
    mask = polygon_to_mask(polygon, y1 - y0, x1 - x0, (x0, y0))
    padded = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    padded[:, 1:-1] = mask.T
    steps = np.diff(padded, axis=1)
    # Runs go down the columns; each begins and ends at a place of the whole image.
    column, begin = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    first = (column + x0) * height + begin + y0
    last = (column + x0) * height + end + y0
    # Over the foot of one column into the head of the next.
    apart = np.r_[True, first[1:] != last[:-1]]
    first, last = first[apart], last[np.r_[apart[1:], True]]
    edges = np.stack([first, last], axis=1).ravel()
    counts = np.diff(np.r_[0, edges, height * width])
    if counts[-1] == 0:
        counts = counts[:-1]
    plain = dict(size=[height, width], counts=counts.tolist())
    rle = coco_mask.frPyObjects(plain, height, width)
    return dict(size=[height, width], counts=rle['counts'].decode('ascii'))


def _unused(name: str, names: set[str]) -> str:
    number, unused = 1, name
    while unused in names:
        number += 1
        unused = f'{name}_{number}'
    names.add(unused)
    return unused
