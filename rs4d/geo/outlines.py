"""Between masks of pixels and polygons, exactly, and the area of a polygon on the ground.

Pixel coordinates are (x, y) = (column, row) with the upper left corner of the first pixel at (0, 0),
as in GDAL and in COCO.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .corner_rings import outer_rings
from .extra import geo_library

if TYPE_CHECKING:
    from pyproj import CRS
    from shapely.geometry import MultiPolygon


def mask_to_polygon(mask: np.ndarray, origin: tuple[float, float] = (0, 0)) -> 'MultiPolygon':
    """The outline of a mask along the edges of its pixels, with its holes.

    Pixels that touch at a corner alone are parts of their own, so that the result is valid. Its area
    is the number of pixels. It is what `gdal_outline` gives; without holes, as most objects are, it
    takes a fifth of the time.

    Args:
        mask: (H, W), anything but 0 is inside.
        origin: Pixel coordinates (x, y) of the mask's upper left corner.

    Returns:
        In pixel coordinates; empty for an empty mask.
    """
    shapely = geo_library('shapely', 'Outlining a mask')
    mask = np.asarray(mask) != 0
    found = filled_part(mask)
    if found is None:
        return shapely.MultiPolygon()
    part, (col, row) = found
    corner = origin[0] + col, origin[1] + row
    rings = outer_rings(part)
    if rings is not None:
        parts = [shapely.polygons(ring + np.array(corner, np.float64)) for ring in rings]
        outline = shapely.MultiPolygon(parts)
        # A ring that meets itself in a corner may enclose something.
        if outline.is_valid:
            return outline
    return gdal_outline(part, corner)


def filled_part(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The smallest rectangle of a mask (H, W) with all that is set, and its column and row.

    None if nothing is set.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    part = mask[rows[0] : rows[-1] + 1]
    cols = np.flatnonzero(part.any(axis=0))
    return part[:, cols[0] : cols[-1] + 1], (int(cols[0]), int(rows[0]))


def gdal_outline(mask: np.ndarray, origin: tuple[float, float] = (0, 0)) -> 'MultiPolygon':
    """The outline of a mask as GDAL's tracing of polygons has it; see `mask_to_polygon`."""
    shapely = geo_library('shapely', 'Outlining a mask')
    features = geo_library('rasterio.features', 'Outlining a mask')
    affine = geo_library('affine', 'Outlining a mask').Affine
    values, shift = mask.astype(np.uint8), affine.translation(*origin)
    rings = [
        shape['coordinates']
        for shape, _ in features.shapes(values, mask=mask, connectivity=4, transform=shift)
    ]
    outline = shapely.MultiPolygon([shapely.Polygon(ring[0], ring[1:]) for ring in rings])
    if not outline.is_valid:
        # A hole of pixels that touch at a corner may come as one ring that touches itself.
        outline = polygonal(outline)
    return outline


def polygon_to_mask(
    polygon: Any, height: int, width: int, origin: tuple[float, float] = (0, 0)
) -> np.ndarray:
    """The pixels whose centre lies in a polygon.

    Args:
        polygon: Polygon or MultiPolygon in pixel coordinates; may be empty or reach over the edges.
        height: Rows of the mask.
        width: Columns of the mask.
        origin: Pixel coordinates (x, y) of the mask's upper left corner.

    Returns:
        (height, width) bool.
    """
    features = geo_library('rasterio.features', 'Drawing a polygon')
    affine = geo_library('affine', 'Drawing a polygon').Affine
    if polygon.is_empty:
        return np.zeros((height, width), bool)
    drawn = features.rasterize(
        [(polygon, 1)], (height, width), transform=affine.translation(*origin), dtype=np.uint8
    )
    return drawn.astype(bool)


def polygonal(geometry: Any) -> 'MultiPolygon':
    """A valid MultiPolygon of what has an area in a geometry; empty where nothing has.

    Bow ties become two parts; lines and points that mending leaves over are dropped.
    """
    shapely = geo_library('shapely', 'Mending a geometry')
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    flat = [
        part
        for item in shapely.get_parts(geometry)
        for part in shapely.get_parts(item)
        if part.geom_type == 'Polygon' and part.area > 0
    ]
    whole = shapely.MultiPolygon(flat)
    if whole.is_valid:
        return whole
    union = shapely.union_all(flat)
    return shapely.MultiPolygon([p for p in shapely.get_parts(union) if p.geom_type == 'Polygon'])


def geodesic_area(geometry: Any, crs: 'CRS | None') -> float | None:
    """Area of a polygon on the ellipsoid of its coordinate system.

    Args:
        geometry: Polygon or MultiPolygon in the units of ``crs``, x before y.
        crs: None if there is none.

    Returns:
        In square metres; None where the coordinate system does not say where on Earth it lies.
    """
    if crs is None:
        return None
    to_degrees, geod = _geodesy(crs)
    if geod is None:
        return None
    shapely = geo_library('shapely', 'Measuring an area')
    degrees = shapely.transform(geometry, to_degrees)
    total = 0.0
    for part in shapely.get_parts(degrees):
        outer, *holes = (
            abs(geod.polygon_area_perimeter(*np.asarray(ring.coords).T[:2])[0])
            for ring in (part.exterior, *part.interiors)
        )
        total += outer - sum(holes)
    return total


@lru_cache(maxsize=8)
def _geodesy(crs: 'CRS') -> tuple[Any, Any]:
    """The map of a coordinate system to degrees on its own ellipsoid, and that ellipsoid.

    Both are None for one that is not tied to Earth.
    """
    pyproj = geo_library('pyproj', 'Measuring an area')
    horizontal = crs.sub_crs_list[0] if crs.is_compound else crs
    geodetic = horizontal.geodetic_crs
    if geodetic is None:
        return None, None
    chain = pyproj.Transformer.from_crs(horizontal.to_2d(), geodetic.to_2d(), always_xy=True)
    # Some systems count in grads; from which meridian does not matter to an area.
    factor = np.rad2deg(geodetic.axis_info[0].unit_conversion_factor)

    def to_degrees(xy: np.ndarray) -> np.ndarray:
        return np.stack(chain.transform(xy[:, 0], xy[:, 1]), axis=1) * factor

    return to_degrees, geodetic.get_geod()
