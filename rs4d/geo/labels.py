"""Labels of a layer in the pixels of a raster."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs4d.errors import some

from .extra import geo_library
from .georeference import Georeference
from .layers import Layer, LayerError
from .outlines import polygonal

if TYPE_CHECKING:
    from pyproj import CRS

MAX_BEND = 0.1
"""By how many pixels a straight edge may lie off the curve that another system makes of it."""


@dataclass(frozen=True)
class Labels:
    """Polygons in pixel coordinates of a raster.

    Attributes:
        polygons: (N,) valid MultiPolygons; those that touch the raster, whole.
        classes: The class of each.
        features: (N,) which features of the layer they are, counted from 0.
        left_out: Why features of the layer are not here, and how many; 'mended' ones are.
    """

    polygons: np.ndarray
    classes: list[str]
    features: np.ndarray
    left_out: Counter[str]


def labels_in_raster(
    layer: Layer, georeference: Georeference | None, height: int, width: int, name: str
) -> Labels:
    """Bring a layer to a raster: its coordinate system, its pixels, valid polygons alone.

    Args:
        layer: As it was read.
        georeference: Of the raster.
        height: Rows of the raster.
        width: Columns of the raster.
        name: Of the raster, for errors.

    Raises:
        LayerError: The raster or the layer does not say where it lies, or the layer has no polygon.
    """
    shapely = geo_library('shapely', 'Placing labels')
    georeference = _placed(georeference, name)
    counts: Counter[str] = Counter()
    missing = shapely.is_missing(layer.geometries) | shapely.is_empty(layer.geometries)
    features = np.flatnonzero(~missing)
    counts['without geometry'] = int(missing.sum())
    kinds = shapely.get_type_id(layer.geometries[features])
    flat = np.isin(kinds, (3, 6, 7))
    counts['no polygons'] = int((~flat).sum())
    if not flat.any():
        found = sorted({geometry.geom_type for geometry in layer.geometries[features]})
        raise LayerError(
            f"'{layer.path}' has no polygon in layer '{layer.name}': "
            f'{len(layer.geometries)} features, {some(found, 9) or "none with a geometry"}. Give a '
            'layer of polygons; points and lines can be buffered in QGIS.'
        )
    features = features[flat]
    move = _move_to(layer, georeference, name)
    # Of a whole country few features need a closer look.
    near = _near(layer, features, georeference, height, width)
    counts['outside of the raster'] = int((~near).sum())
    features = features[near]

    def place(shape: Any) -> Any:
        return georeference.to_pixel(shapely.transform(shape, move))

    polygons: list[Any] = []
    kept: list[int] = []
    frame = shapely.box(0, 0, width, height)
    for feature in features.tolist():
        geometry = layer.geometries[feature]
        valid = geometry.is_valid
        mended = polygonal(geometry)
        counts['mended'] += not valid
        if mended.is_empty:
            counts['without area'] += 1
            continue
        if not np.isfinite(move(shapely.get_coordinates(mended))).all():
            counts["outside of what the raster's system covers"] += 1
            continue
        polygon = polygonal(_straightened(mended, place))
        if not polygon.intersects(frame) or polygon.intersection(frame).area == 0:
            counts['outside of the raster'] += 1
            continue
        polygons.append(polygon)
        kept.append(feature)
    array = np.empty(len(polygons), dtype=object)
    array[:] = polygons
    return Labels(array, [layer.classes[k] for k in kept], np.array(kept, int), +counts)


def _near(
    layer: Layer, features: np.ndarray, georeference: Georeference, height: int, width: int
) -> np.ndarray:
    """Which features may touch a raster, by their extent in the layer's own system, (N,) bool."""
    shapely = geo_library('shapely', 'Placing labels')
    frame = shapely.box(0, 0, width, height)
    frame = georeference.to_map(shapely.segmentize(frame, max(height, width) / 16))
    corners = shapely.get_coordinates(frame)
    if not layer.of_raster and layer.crs is not None and georeference.crs is not None:
        corners = transformer(georeference.crs, layer.crs)(corners)
    if not np.isfinite(corners).all() or _crosses_the_date_line(layer, corners):
        return np.ones(len(features), bool)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.1 * (high - low)
    bounds = shapely.bounds(layer.geometries[features])
    return (bounds[:, :2] <= high + margin).all(axis=1) & (bounds[:, 2:] >= low - margin).all(
        axis=1
    )


def _crosses_the_date_line(layer: Layer, corners: np.ndarray) -> bool:
    """Whether longitudes may count from elsewhere than those of the layer."""
    if layer.crs is None or not layer.crs.is_geographic:
        return False
    x0, _, x1, _ = layer.bounds or (0.0, 0.0, 0.0, 0.0)
    turn = 2 * np.pi / layer.crs.axis_info[0].unit_conversion_factor
    return bool(
        max(x1, corners[:, 0].max()) > turn * 0.49 or min(x0, corners[:, 0].min()) < -turn * 0.49
    )


def outside(
    layer: Layer, georeference: Georeference | None, height: int, width: int, name: str
) -> LayerError:
    """The error of a layer that does not touch a raster; it says both extents."""
    shapely = geo_library('shapely', 'Placing labels')
    georeference = _placed(georeference, name)
    move = _move_to(layer, georeference, name)
    frame = georeference.to_map(shapely.box(0, 0, width, height)).bounds
    x0, y0, x1, y1 = layer.bounds or (0.0, 0.0, 0.0, 0.0)
    there = move(np.array([(x0, y0), (x0, y1), (x1, y0), (x1, y1)]))
    spans = _extent((*there.min(axis=0), *there.max(axis=0)))
    if not np.isfinite(there).all():
        spans = f'what it cannot express ({_extent((x0, y0, x1, y1))} in its own)'
    unit = 'its own system' if georeference.crs is None else georeference.crs.name
    return LayerError(
        f"'{layer.path}' lies outside of '{name}': in {unit}, the layer spans {spans}, and "
        f'the raster {_extent(frame)}. Give the layer of this place, or say with --labels-crs which '
        'system its coordinates are in.'
    )


def _extent(bounds: tuple[float, ...]) -> str:
    x0, y0, x1, y1 = bounds
    return f'x {x0:.10g} to {x1:.10g}, y {y0:.10g} to {y1:.10g}'


def _placed(georeference: Georeference | None, name: str) -> Georeference:
    if georeference is None:
        raise LayerError(
            f"'{name}' has no georeference, so that no layer can be laid over it. Give it one, for "
            'example with gdal_edit.py, or annotate it as a picture, in COCO format.'
        )
    return georeference


def _move_to(
    layer: Layer, georeference: Georeference, name: str
) -> Callable[[np.ndarray], np.ndarray]:
    """The map of points (N, 2) from a layer's coordinates to those of a raster."""
    target = georeference.crs
    if layer.of_raster or (layer.crs is None and target is None):
        return lambda xy: xy
    if layer.crs is None or target is None:
        silent, other = (layer.path, name) if layer.crs is None else (name, layer.path)
        raise LayerError(
            f"'{silent}' states no coordinate system, and '{other}' does. If both have the same, say "
            '--labels-crs raster' + ('; else the one of the layer.' if layer.crs is None else '.')
        )
    if layer.crs.equals(target, ignore_axis_order=True):
        return lambda xy: xy
    return transformer(layer.crs, target)


def transformer(source: 'CRS', target: 'CRS') -> Callable[[np.ndarray], np.ndarray]:
    """The map of points (N, 2), x before y, from one coordinate system to another."""
    pyproj = geo_library('pyproj', 'Placing labels')
    chain = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return lambda xy: np.stack(chain.transform(xy[:, 0], xy[:, 1]), axis=1)


def _straightened(geometry: Any, place: Callable[[Any], Any]) -> Any:
    """Place a geometry, with points added where an edge would bend by more than `MAX_BEND` pixels."""
    shapely = geo_library('shapely', 'Placing labels')
    for _ in range(12):
        placed = place(geometry)
        bend = longest = 0.0
        for ring in shapely.get_rings(shapely.get_parts(geometry)):
            ends, corners = shapely.get_coordinates(ring), shapely.get_coordinates(place(ring))
            middles = shapely.get_coordinates(place(shapely.LineString((ends[1:] + ends[:-1]) / 2)))
            off = middles - (corners[1:] + corners[:-1]) / 2
            bend = max(bend, float(np.hypot(*off.T).max()))
            longest = max(longest, float(np.hypot(*np.diff(ends, axis=0).T).max()))
        if not bend > MAX_BEND or not np.isfinite(bend):
            break
        geometry = shapely.segmentize(geometry, longest / 2 * 1.001)
    return placed
