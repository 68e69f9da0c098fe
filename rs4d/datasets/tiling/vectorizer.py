"""COCO annotations or results of georeferenced images into a layer."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs4d.geo.extra import geo_library
from rs4d.geo.georeference import Georeference
from rs4d.geo.labels import transformer
from rs4d.geo.layers import parse_crs, write_layer
from rs4d.geo.outlines import geodesic_area
from rs4d.geo.raster import Raster

from ..errors import AnnotationError, DatasetNotFoundError
from .annotations import OBJECT, REST, from_coco
from .joining import Piece, groups, union

if TYPE_CHECKING:
    from pyproj import CRS


def vectorize(
    files: Sequence[str | os.PathLike[str]],
    images: str | os.PathLike[str],
    out: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    min_score: float = 0.0,
    join: bool = True,
) -> int:
    """Write the objects of annotation files, or of results, as a layer.

    Pieces of one object in several tiles are joined: exactly where the tiles are `tile`'s, else by
    what tiles that overlap or touch agree on. The layer has the fields ``class``, ``area`` (geodesic,
    square metres; absent without a coordinate system), ``image`` (the first in which the object is)
    and, of results, ``score``.

    Args:
        files: COCO annotation files, or lists of results.
        images: Folder that the images' ``file_name`` start from.
        out: The layer: .gpkg, .fgb, .parquet or .geojson.
        annotations: The annotation file that results speak of.
        min_score: Results below are left out.
        join: Whether pieces are joined.

    Returns:
        How many objects were written.

    Raises:
        AnnotationError: A file does not hold what it should, or images have and lack coordinate
            systems.
        DatasetNotFoundError: A file is not there.
        RasterError: An image is no raster.
        LayerError: The ending of ``out`` is unknown.
    """
    reader = _Reader(Path(images), annotations, min_score, join)
    for file in files:
        reader.read(file)
    found = reader.pieces
    together = groups(found) if join else [[number] for number in range(len(found))]
    objects = [[found[number] for number in group] for group in together]
    # A sliver without the rest of its object says nothing.
    objects = [group for group in objects if not all(p.crowd and p.key is None for p in group)]
    polygons = [union(group) for group in objects]
    attributes: dict[str, Sequence[Any]] = {'class': [group[0].name for group in objects]}
    if any(piece.score is not None for piece in found):
        attributes['score'] = [max(piece.score or 0.0 for piece in group) for group in objects]
    if reader.crs is not None:
        attributes['area'] = [geodesic_area(polygon, reader.crs) for polygon in polygons]
    attributes['image'] = [reader.names[group[0].image] for group in objects]
    write_layer(out, polygons, attributes, reader.crs, styled_classes=sorted(reader.classes))
    return len(polygons)


class _Reader:
    """Collects pieces on the map from files that speak of the same images or others.

    Args:
        images: Folder of the images.
        annotations: What results speak of.
        min_score: Results below are left out.
        whole: Whether what no tile shows of an object is taken up, too.
    """

    def __init__(
        self,
        images: Path,
        annotations: str | os.PathLike[str] | None,
        min_score: float,
        whole: bool,
    ) -> None:
        self.pieces: list[Piece] = []
        self.names: list[str] = []
        self.classes: set[str] = set()
        self.crs: CRS | None = None
        self._images = images
        self._annotations = annotations
        self._min_score = min_score
        self._whole = whole

    def read(self, file: str | os.PathLike[str]) -> None:
        """Take up the objects of a file."""
        content = _load(file)
        results = isinstance(content, list)
        if results:
            if self._annotations is None:
                raise AnnotationError(
                    f"'{file}' is a list of results, which name images by number: add --annotations "
                    'with the annotation file that the model was tested on.'
                )
            plan, items = _load(self._annotations), content
        else:
            plan, items = content, content.get('annotations', [])
        try:
            names = {item['id']: str(item['name']) for item in plan['categories']}
            records = {item['id']: item for item in plan['images']}
        except (KeyError, TypeError) as error:
            raise AnnotationError(
                f"'{self._annotations if results else file}' is no COCO annotation file: it has no "
                f'{error}.'
            ) from error
        source = str(plan.get('info', {}).get('labels', '')) or None
        by_image: dict[Any, list[Mapping[str, Any]]] = {}
        for item in items:
            if float(item.get('score', 1)) >= self._min_score:
                by_image.setdefault(item.get('image_id'), []).append(item)
        for image, group in by_image.items():
            if image not in records or not {item.get('category_id') for item in group} <= set(
                names
            ):
                raise AnnotationError(
                    f"'{file}' speaks of image {image} and categories that "
                    f"'{self._annotations if results else file}' does not have."
                )
            self._take(records[image], group, names, None if results else source)
        if self._whole and not results and source is not None:
            self._take_rests(plan, source)

    def _take(
        self,
        record: Mapping[str, Any],
        items: Sequence[Mapping[str, Any]],
        names: Mapping[Any, str],
        source: str | None,
    ) -> None:
        """Place the objects of one image."""
        shapely = geo_library('shapely', 'Placing objects')
        path = self._images / record['file_name']
        with Raster.open(path) as raster:
            place = raster.georeference
            height, width = raster.height, raster.width
        if place is None:
            raise AnnotationError(
                f"'{path}' has no georeference, so that its objects have no place on a map."
            )
        to_layer = self._to_layer(place.crs, path)
        frame = to_layer(place.to_map(shapely.box(0, 0, width, height)))
        pixel = float(np.sqrt(frame.area / (width * height)))
        self.names.append(record['file_name'])
        for item in items:
            polygon = from_coco(item, height, width)
            if polygon.is_empty:
                continue
            score = item.get('score')
            number = item.get(OBJECT)
            self.classes.add(names[item['category_id']])
            self.pieces.append(
                Piece(
                    polygon=to_layer(place.to_map(polygon)),
                    name=names[item['category_id']],
                    image=len(self.names) - 1,
                    frame=frame,
                    pixel=pixel,
                    key=None if number is None or source is None else (source, number),
                    score=None if score is None else float(score),
                    crowd=bool(item.get('iscrowd', 0)),
                )
            )

    def _take_rests(self, plan: Mapping[str, Any], source: str) -> None:
        """Add what tiles don't show to objects that are still there."""
        affine = geo_library('affine', 'Placing objects').Affine
        places = {
            scene['name']: Georeference(
                affine(*scene['transform']), parse_crs(scene['crs'], scene['name'])
            )
            for scene in plan['info'].get('scenes', [])
        }
        first = {piece.key: piece for piece in reversed(self.pieces) if piece.key is not None}
        for item in plan.get(REST, []):
            piece = first.get((source, item[OBJECT]))
            place = places.get(item['scene'])
            if piece is not None and place is not None:
                polygon = place.to_map(from_coco(item, 0, 0))
                polygon = self._to_layer(place.crs, Path(item['scene']))(polygon)
                self.pieces.append(replace(piece, polygon=polygon))

    def _to_layer(self, crs: 'CRS | None', path: Path) -> Any:
        """The map from an image's system to the layer's, which is that of the first image."""
        shapely = geo_library('shapely', 'Placing objects')
        if not self.names:
            self.crs = crs
        if crs == self.crs:
            return lambda geometry: geometry
        if crs is None or self.crs is None:
            raise AnnotationError(
                f"'{path}' {'has no' if crs is None else 'has a'} coordinate system, unlike images "
                'before it. Vectorize them apart.'
            )
        move = transformer(crs, self.crs)
        return lambda geometry: shapely.transform(geometry, move)


def _load(file: str | os.PathLike[str]) -> Any:
    try:
        content = json.loads(Path(file).read_bytes())
    except FileNotFoundError as error:
        raise DatasetNotFoundError(f"'{file}' is not there.") from error
    except ValueError as error:
        raise AnnotationError(f"'{file}' is no JSON: {error}.") from error
    if not isinstance(content, dict | list):
        raise AnnotationError(f"'{file}' holds neither annotations nor results.")
    return content
