"""What a prediction is: plain arrays, without anybody's classes."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from rs4d.datasets.masks import encode_rle
from rs4d.geo.georeference import Georeference
from rs4d.geo.outlines import mask_to_polygon


@dataclass(frozen=True)
class Instances:
    """The objects that were found in an image, the surest first.

    Attributes:
        boxes: (N, 4) float32, left, top, right, bottom in pixels of the image.
        scores: (N,) float32, 0 to 1.
        labels: (N,) int64, places in ``classes``.
        masks: (N, H, W) bool.
        classes: The names of all classes that the model knows.
        georeference: Where the image lies, None where that is not known.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    classes: tuple[str, ...]
    georeference: Georeference | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: Any) -> 'Instances':
        """Some of them, by whatever picks rows of an array: a mask, a slice, numbers."""
        return replace(
            self,
            boxes=self.boxes[chosen],
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            masks=self.masks[chosen],
        )

    @property
    def class_names(self) -> list[str]:
        """The name of the class of each."""
        return [self.classes[label] for label in self.labels.tolist()]

    @cached_property
    def rles(self) -> list[dict[str, Any]]:
        """The masks as COCO's compressed run lengths."""
        return [encode_rle(mask) for mask in self.masks]

    @cached_property
    def polygons(self) -> np.ndarray:
        """(N,) MultiPolygons of shapely: exact outlines in pixels, with holes."""
        outlines = np.empty(len(self), dtype=object)
        outlines[:] = [mask_to_polygon(mask) for mask in self.masks]
        return outlines

    @property
    def map_polygons(self) -> np.ndarray:
        """:attr:`polygons` in the coordinate system of the image.

        Raises:
            ValueError: It has none.
        """
        if self.georeference is None:
            raise ValueError('This image does not say where it lies; its polygons are in pixels.')
        return np.asarray(self.georeference.to_map(self.polygons))
