"""Reading layers of labels, and writing layers of results."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs4d.errors import UserError, some
from rs4d.files import FileWriteError, written_whole

from .extra import geo_library
from .styles import add_style

if TYPE_CHECKING:
    from pyproj import CRS

DRIVERS = {'.gpkg': 'GPKG', '.fgb': 'FlatGeobuf', '.geojson': 'GeoJSON', '.parquet': 'Parquet'}
DEFAULT_CLASS = 'object'
OF_RASTER = 'raster'


class LayerError(UserError, ValueError):
    """A layer cannot be read, or does not say what is asked of it."""


@dataclass(frozen=True)
class Layer:
    """A layer as it was read.

    Attributes:
        path: The file.
        name: The layer in it.
        geometries: (N,) shapely geometries in two dimensions, None where a feature has none.
        classes: The class of each.
        crs: The coordinate system, None where none is stated.
        of_raster: Its reader was told that the coordinates are those of the raster.
    """

    path: str
    name: str
    geometries: np.ndarray
    classes: list[str]
    crs: 'CRS | None'
    of_raster: bool = False

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """Smallest x and y, largest x and y; None where there is nothing."""
        shapely = geo_library('shapely', 'Reading a layer')
        if not len(self.geometries):
            return None
        bounds = shapely.total_bounds(self.geometries)
        return tuple(map(float, bounds)) if np.isfinite(bounds).all() else None  # type: ignore


def read_layer(
    path: str | os.PathLike[str],
    layer: str | None = None,
    class_field: str | None = None,
    crs_override: 'str | CRS | None' = None,
    default_class: str | None = None,
) -> Layer:
    """Read a layer of vectors: GeoPackage, GeoJSON, Shapefile, FlatGeobuf and what else GDAL reads.

    Args:
        path: The file.
        layer: Which layer; needed only where there are several.
        class_field: The attribute that holds the class; without it all are of class 'object'.
        crs_override: A coordinate system in place of the declared one, in any form that PROJ knows, or
            'raster' for that of the raster which the layer belongs to.
        default_class: Class of features whose class field is empty; without it they are refused.

    Raises:
        LayerError: The file, the layer or the field is not there, a class is empty, or the declared
            coordinate system cannot be that of the coordinates.
    """
    pyogrio = geo_library('pyogrio', 'Reading a layer')
    shapely = geo_library('shapely', 'Reading a layer')
    path = os.fspath(path)
    name = _find_layer(pyogrio, path, layer)
    with _told(path):
        fields = list(pyogrio.read_info(path, layer=name)['fields'])
        if class_field is not None and class_field not in fields:
            raise LayerError(
                f"'{path}' has no field '{class_field}' in layer '{name}'; it has "
                f'{some(fields, 40) or "none"}.'
            )
        meta, fids, wkb, columns = pyogrio.raw.read(
            path,
            layer=name,
            columns=[] if class_field is None else [class_field],
            force_2d=True,
            return_fids=True,
            datetime_as_string=True,
        )
    # 'fix' closes rings that are not closed; what cannot be read at all becomes None.
    geometries = np.asarray(shapely.from_wkb(wkb, on_invalid='fix'), dtype=object).reshape(-1)
    classes = [DEFAULT_CLASS] * len(geometries)
    if class_field is not None:
        classes = _classes(columns[0], fids, path, class_field, default_class)
    if isinstance(crs_override, str) and crs_override == OF_RASTER:
        return Layer(path, name, geometries, classes, None, of_raster=True)
    crs = parse_crs(meta['crs'] if crs_override is None else crs_override, path)
    found = Layer(path, name, geometries, classes, crs)
    if crs_override is None:
        _check_crs(found)
    return found


def parse_crs(text: 'str | CRS | None', where: str) -> 'CRS | None':
    """A coordinate system of PROJ's from a code, WKT, PROJ string or JSON; None stays None.

    Raises:
        LayerError: PROJ does not know it.
    """
    if text is None or text == '':
        return None
    pyproj = geo_library('pyproj', 'Reading a coordinate system')
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise LayerError(
            f"'{text}' ({where}) is no coordinate system that PROJ knows. Give one such as "
            "'EPSG:32633', or WKT."
        ) from error


def write_layer(
    path: str | os.PathLike[str],
    geometries: Sequence[Any] | np.ndarray,
    attributes: Mapping[str, Sequence[Any] | np.ndarray],
    crs: 'CRS | None',
    styled_classes: Sequence[str] = (),
) -> None:
    """Write a layer whole or not at all, in the format that the ending says.

    Args:
        path: ``.gpkg``, ``.fgb``, ``.parquet``, or ``.geojson``: as RFC 7946 asks, in WGS 84 with 7
            decimals and outer rings counter-clockwise. The layer is named after the file.
        geometries: (N,) of shapely; polygons beside multi-polygons are written as the latter.
        attributes: Field to its N values.
        crs: The coordinate system of the geometries.
        styled_classes: Values of the field ``class`` for a style in a GeoPackage.

    Raises:
        LayerError: The ending is not known, or a GeoJSON has no coordinate system to come from.
        FileWriteError: It cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in DRIVERS:
        raise LayerError(f"'{path}': a layer ends in {', '.join(DRIVERS)}.")
    if suffix == '.geojson' and crs is None:
        raise LayerError(
            f"'{path}' would need longitudes and latitudes, and these polygons have no coordinate "
            'system. Write .gpkg, .fgb or .parquet.'
        )
    shapely = geo_library('shapely', 'Writing a layer')
    shapes = np.empty(len(geometries), dtype=object)
    shapes[:] = list(geometries)
    kinds = set(shapely.get_type_id(shapes).tolist())
    if kinds == {3, 6}:
        for number in np.flatnonzero(shapely.get_type_id(shapes) == 3):
            shapes[number] = shapely.MultiPolygon([shapes[number]])
    columns = {name: _column(values) for name, values in attributes.items()}
    with written_whole(path) as part:
        # GDAL's drivers go by the ending of the name.
        work = part.with_name(f'{part.name}{suffix}')
        try:
            if suffix == '.parquet':
                _write_parquet(work, shapes, columns, crs)
            else:
                _write(work, path.stem, shapes, columns, crs, DRIVERS[suffix])
            if suffix == '.gpkg' and styled_classes:
                add_style(work, path.stem, styled_classes)
            work.replace(part)
        finally:
            for left in work.parent.glob(f'{work.name}*'):
                left.unlink()


def _write(
    path: Path,
    layer: str,
    shapes: np.ndarray,
    columns: Mapping[str, np.ndarray],
    crs: 'CRS | None',
    driver: str,
) -> None:
    pyogrio = geo_library('pyogrio', 'Writing a layer')
    shapely = geo_library('shapely', 'Writing a layer')
    kinds = set(shapely.get_type_id(shapes).tolist()) - {-1}
    kind = (
        {3: 'Polygon', 6: 'MultiPolygon'}.get(kinds.pop(), 'Unknown') if len(kinds) == 1 else None
    )
    options = {'RFC7946': 'YES'} if driver == 'GeoJSON' else {}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', "'crs' was not provided")
            pyogrio.raw.write(
                path,
                shapely.to_wkb(shapes),
                list(columns.values()),
                list(columns),
                layer=layer,
                driver=driver,
                geometry_type=kind or ('Unknown' if len(shapes) else 'MultiPolygon'),
                crs=None if crs is None else crs.to_wkt(),
                promote_to_multi=False,
                layer_options=options,
            )
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
    ) as error:
        # SQLite's reason comes behind the whole command.
        reason = str(error).rsplit(' failed: ', 1)[-1].rstrip('.')
        raise FileWriteError(
            f"'{path.parent}' did not take the layer: {reason}. Free some space or choose another "
            'place.'
        ) from error


def _write_parquet(
    path: Path, shapes: np.ndarray, columns: Mapping[str, np.ndarray], crs: 'CRS | None'
) -> None:
    geopandas = geo_library('geopandas', 'Writing GeoParquet')
    geo_library('pyarrow', 'Writing GeoParquet')
    geopandas.GeoDataFrame(dict(columns), geometry=shapes, crs=crs).to_parquet(path, index=False)


def _column(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Values of a field as an array that GDAL knows: numbers as they are, all else as text."""
    array = np.asarray(values)
    if array.dtype.kind in 'biuf':
        return array
    if array.dtype.kind == 'O' and all(
        value is None or isinstance(value, int | float | np.number) for value in array
    ):
        return np.array([np.nan if value is None else float(value) for value in array])
    text = np.empty(len(array), dtype=object)
    text[:] = [None if value is None else str(value) for value in array.tolist()]
    return text


def _find_layer(pyogrio: Any, path: str, layer: str | None) -> str:
    """The name of the layer to read."""
    remote = path.startswith('/vsi') or '://' in path
    if not remote and not Path(path).exists():
        raise LayerError(f"'{path}' is not there.")
    if not remote and Path(path).is_file() and not Path(path).stat().st_size:
        raise LayerError(f"'{path}' is empty (0 bytes).")
    with _told(path):
        names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if layer is None and len(names) == 1:
        return names[0]
    if layer in names:
        return layer
    if not names:
        raise LayerError(f"'{path}' has no layer with geometries.")
    if layer is None:
        raise LayerError(
            f"'{path}' has {len(names)} layers: {some(names, 20)}. Say which with --layer."
        )
    raise LayerError(f"'{path}' has no layer '{layer}'; it has {some(names, 20)}.")


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn GDAL's errors into one sentence."""
    errors = geo_library('pyogrio.errors', 'Reading a layer')
    try:
        yield
    except (errors.DataSourceError, errors.DataLayerError, errors.FeatureError) as error:
        reason = str(error).split(';')[0].rstrip('.')
        raise LayerError(
            f"'{path}' cannot be read as a layer of vectors: {reason}. Give a GeoPackage, GeoJSON, "
            'Shapefile or FlatGeobuf.'
        ) from error


def _classes(
    values: np.ndarray, fids: np.ndarray, path: str, field: str, default: str | None
) -> list[str]:
    """Values of the class field as text; whole numbers without a decimal point."""
    names = [_class_name(value) for value in values]
    empty = [fid for fid, name in zip(fids.tolist(), names, strict=True) if name is None]
    if empty and default is None:
        raise LayerError(
            f"'{path}' has {len(empty)} of {len(names)} features whose '{field}' is empty (features "
            f'{some(empty)}). Fill it in, or name their class with --default-class.'
        )
    return [name or str(default) for name in names]


def _class_name(value: Any) -> str | None:
    # A column of whole numbers with gaps is read as one of floats.
    if value is None or value != value:
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip() or None


def _check_crs(layer: Layer) -> None:
    """Refuse a declared coordinate system that the coordinates show to be wrong."""
    crs, bounds = layer.crs, layer.bounds
    if crs is None or bounds is None:
        return
    x0, y0, x1, y1 = bounds
    axis = crs.axis_info[0] if crs.axis_info else None
    name = ':'.join(crs.to_authority() or (crs.name,))
    extent = f'x {x0:.10g} to {x1:.10g}, y {y0:.10g} to {y1:.10g}'
    advice = "Say the true one with --labels-crs, for example 'EPSG:32633' or 'raster'."
    if crs.is_geographic and axis is not None:
        turn = 2 * np.pi / axis.unit_conversion_factor
        if max(-x0, x1) > turn * 1.001 or max(-y0, y1) > turn / 4 * 1.001:
            raise LayerError(
                f"'{layer.path}' declares {name}, whose coordinates are {axis.unit_name}s, and holds "
                f'{extent}, which no longitude and latitude can be. {advice}'
            )
    elif crs.is_projected and max(-x0, x1) <= 180 and max(-y0, y1) <= 90 and _far_away(crs, bounds):
        raise LayerError(
            f"'{layer.path}' declares {name}, whose coordinates are {axis and axis.unit_name}s, and "
            f'holds {extent}, which is far outside of where it is used: they look like degrees. '
            f'{advice}'
        )


def _far_away(crs: 'CRS', bounds: tuple[float, float, float, float]) -> bool:
    """Whether coordinates lie more than a degree outside of a system's stated area of use."""
    pyproj = geo_library('pyproj', 'Reading a coordinate system')
    area = crs.area_of_use
    if area is None:
        return False
    chain = pyproj.Transformer.from_crs(crs, 'OGC:CRS84', always_xy=True)
    lon, lat = chain.transform((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    if not np.isfinite([lon, lat]).all():
        return True
    width = (area.east - area.west) % 360 or 360.0
    past = (lon - area.west + 1) % 360
    return past > width + 2 or not area.south - 1 <= lat <= area.north + 1
