"""Where the pixels of a raster lie on the map."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs4d.errors import UserError

from .extra import geo_library
from .window import Window

if TYPE_CHECKING:
    from affine import Affine
    from pyproj import CRS

MAX_RESIDUAL = 0.5
"""By how many pixels a ground control point may lie off the affine map that is fitted to all."""


class GeoreferenceError(UserError, ValueError):
    """A raster says where it lies in a way that cannot be followed."""


@dataclass(frozen=True)
class Georeference:
    """An affine map from pixels to a coordinate system, which may be unknown.

    Attributes:
        transform: From (x, y) = (column, row), the upper left corner of the first pixel at (0, 0), to
            the map's (x, y). Rotated, sheared and south-up maps are fine.
        crs: The coordinate system, or None.
    """

    transform: 'Affine'
    crs: 'CRS | None'

    @classmethod
    def from_dataset(cls, dataset: Any) -> 'Georeference | None':
        """Read it from an open data set of rasterio.

        Returns:
            None for a picture without any georeference.

        Raises:
            GeoreferenceError: It has rational polynomial coefficients alone, ground control points
                that no affine map fits, or a map that folds the plane.
        """
        name = dataset.name
        points, points_crs = dataset.gcps
        if dataset.transform.is_identity and points:
            return cls(_fit(points, name), _crs(points_crs, name))
        if dataset.transform.is_identity and dataset.rpcs is not None:
            raise GeoreferenceError(
                f"'{name}' is placed by rational polynomial coefficients (RPC) alone, which need a "
                'terrain model. Orthorectify it first, for example with gdalwarp -rpc.'
            )
        if dataset.transform.is_identity and dataset.crs is None:
            return None
        if dataset.transform.is_degenerate:
            raise GeoreferenceError(
                f"'{name}' maps all of its pixels onto a line or a point "
                f'(geotransform {dataset.transform.to_gdal()}). Write its geotransform anew, for '
                'example with gdal_edit.py -a_ullr.'
            )
        return cls(dataset.transform, _crs(dataset.crs, name))

    def to_map(self, geometries: Any) -> Any:
        """Bring a geometry, or an array of them, from pixels to the map."""
        return _apply(self.transform, geometries)

    def to_pixel(self, geometries: Any) -> Any:
        """Bring a geometry, or an array of them, from the map to pixels."""
        return _apply(~self.transform, geometries)

    def window(self, window: Window) -> 'Georeference':
        """That of a window of the raster."""
        return Georeference(self.window_transform(window), self.crs)

    def window_transform(self, window: Window) -> 'Affine':
        """The affine map of a window of the raster."""
        a, b, c, d, e, f = self.transform[:6]
        affine = geo_library('affine', 'Cutting a raster').Affine
        col, row = window.col, window.row
        return affine(a, b, a * col + b * row + c, d, e, d * col + e * row + f)


def _apply(transform: 'Affine', geometries: Any) -> Any:
    shapely = geo_library('shapely', 'Moving geometries')
    return shapely.transform(geometries, lambda xy: _moved(transform, xy))


def _moved(transform: 'Affine', xy: np.ndarray) -> np.ndarray:
    """Points (N, 2) through an affine map."""
    matrix = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    return xy @ matrix.T + np.array([transform.c, transform.f])


def _fit(points: list[Any], name: str) -> 'Affine':
    """The affine map nearest to ground control points."""
    pixels = np.array([[point.col, point.row, 1.0] for point in points])
    places = np.array([[point.x, point.y] for point in points])
    if len(points) < 3 or np.linalg.matrix_rank(pixels) < 3:
        raise GeoreferenceError(
            f"'{name}' has {len(points)} ground control points (GCPs), which do not span a plane. "
            'Warp it to a map first, for example with gdalwarp.'
        )
    centre = places.mean(axis=0)
    solution = np.linalg.lstsq(pixels, places - centre, rcond=None)[0]
    affine = geo_library('affine', 'Reading ground control points').Affine
    matrix = solution.T
    matrix[:, 2] += centre
    transform = affine(*matrix.ravel())
    if transform.is_degenerate:
        raise GeoreferenceError(f"'{name}' has ground control points (GCPs) on one line.")
    residual = np.hypot(*(_moved(~transform, places) - pixels[:, :2]).T).max()
    if residual > MAX_RESIDUAL:
        raise GeoreferenceError(
            f"'{name}' is placed by {len(points)} ground control points (GCPs) that no affine map "
            f'fits: one lies {residual:.1f} pixels off. Warp it to a map first, for example with '
            'gdalwarp -tps.'
        )
    return transform


def _crs(crs: Any, name: str) -> 'CRS | None':
    """A coordinate system of rasterio's as one of pyproj's."""
    if not crs:
        return None
    pyproj = geo_library('pyproj', 'Reading a coordinate system')
    try:
        return pyproj.CRS.from_wkt(crs.to_wkt(version='WKT2_2019'))
    except pyproj.exceptions.CRSError as error:
        raise GeoreferenceError(
            f"'{name}' has a coordinate system that PROJ cannot read: {error}. Set another, for "
            'example with gdal_edit.py -a_srs.'
        ) from error
