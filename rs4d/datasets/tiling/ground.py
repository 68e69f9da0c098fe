"""Whether tiles of different scenes show the same ground."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rs4d.errors import some
from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import Georeference

from .plan import Tile, TilingError

_SHARE = 0.01
"""Of a tile's area, which neighbouring scenes may overlap by."""


def refuse_shared_ground(
    scenes: Sequence[tuple[str, Georeference]], train: Sequence[Tile], val: Sequence[Tile]
) -> None:
    """Raise if tiles of the validation lie where tiles of the training do that are another scene's.

    Blocks and guards are of one scene. On ground that was trained on, a score would be too good.

    Args:
        scenes: Path and place of each.
        train: Tiles to train on.
        val: Tiles to score.

    Raises:
        TilingError: They share ground.
    """
    shapely = geo_library('shapely', 'Cutting labels into tiles')
    if len(scenes) < 2 or not train or not val:
        return
    seen, scored = _outlines(scenes, train), _outlines(scenes, val)
    here, there = shapely.STRtree(seen).query(scored, predicate='intersects')
    shared = shapely.area(shapely.intersection(scored[here], seen[there]))
    shared = shared > _SHARE * shapely.area(scored[here])
    pairs = zip(here[shared], there[shared], strict=True)
    met = {(val[i].scene, train[j].scene) for i, j in pairs}
    if others := [pair for pair in met if pair[0] != pair[1]]:
        names = sorted({scenes[number][0] for pair in others for number in pair})
        raise TilingError(
            'Tiles of val would show ground that tiles of train show, since scenes overlap or are '
            f'given twice: {some(names)}. Leave one of them out, or tile those to train on and those '
            'to score by commands of their own, with --val 0.'
        )


def _outlines(scenes: Sequence[tuple[str, Georeference]], tiles: Sequence[Tile]) -> Any:
    """Of each tile, in the scenes' coordinate system, or in longitude and latitude if they differ."""
    shapely = geo_library('shapely', 'Cutting labels into tiles')
    pyproj = geo_library('pyproj', 'Cutting labels into tiles')
    places = [place for _, place in scenes]
    outlines = np.array(
        [places[tile.scene].to_map(shapely.box(*tile.window.bounds)) for tile in tiles]
    )
    if all(place.crs == places[0].crs for place in places):
        return outlines
    owners = np.array([tile.scene for tile in tiles])
    for number, place in enumerate(places):
        if place.crs is not None:
            chain = pyproj.Transformer.from_crs(place.crs, 4326, always_xy=True)
            mine = owners == number
            outlines[mine] = shapely.transform(outlines[mine], chain.transform, interleaved=False)
    return outlines
