"""Loading of rasters: any number of bands, of any type, without rounding."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from rs4d.geo.raster import Raster, within
from rs4d.geo.raster_file import RasterError
from rs4d.geo.stretch import Stretch, build_stretch
from rs4d.geo.window import Window

from ..errors import AnnotationError, ImageDecodeError

VALID, NO_DATA = 0, 255
"""What ``gt_seg_map`` says of a pixel; 255 is MMDetection's sign for what is to be ignored."""


@TRANSFORMS.register_module()
class LoadRaster(BaseTransform):
    """Load a raster that GDAL reads, or a window of one, and bring its values to 0 to 255 by a stretch.

    Pixels without data are filled with ``fill``, as padding is. Where there are any, ``gt_seg_map``
    marks them by 255 and the others by 0; MMDetection's transforms move it along with the image and pack
    it as ``gt_sem_seg``, which the losses of stage 1 leave out as they do padding. Objects whose box
    shows nothing but such pixels become ignored ones.

    Added keys: ``img`` (H, W, C) float32 with the bands in their order, ``img_shape``, ``ori_shape``,
    and ``gt_seg_map`` (H, W) uint8 where pixels are without data.

    Args:
        bands: Which, in which order, counted from 1; the first three are taken for red, green and blue
            by weights of three bands and by pictures. None for all but one of transparency.
        stretch: How values become 0 to 255; see :func:`rs4d.geo.stretch.build_stretch`. By default
            they are bytes already.
        fill: What pixels without data become, one number or one a band: the mean that the model's data
            preprocessor subtracts.
        valid_range: Lowest and highest value that means something, for files that do not say what stands
            for no data; a pixel of which all bands are outside is without data.
    """

    def __init__(
        self,
        bands: Sequence[int] | None = None,
        stretch: Mapping[str, Any] | None = None,
        fill: float | Sequence[float] = 0.0,
        valid_range: tuple[float, float] | None = None,
    ) -> None:
        self.bands = None if bands is None else tuple(bands)
        self.stretch = build_stretch(stretch or dict(type='linear'))
        self.fill = fill if isinstance(fill, int | float) else tuple(fill)
        self.valid_range = None if valid_range is None else (valid_range[0], valid_range[1])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load ``img_path``, in a tar from ``shard``; ``window``, a `Window`, may say a part of it.

        Raises:
            ImageDecodeError: It is not there, no raster, damaged, or lacks bands.
            ConfigError: The stretch is for another number of bands.
            AnnotationError: It has another size than its annotations say.
        """
        path, shard = results['img_path'], results.get('shard')
        if shard is not None:
            path = f'/vsisubfile/{shard["offset"]}_{shard["size"]},{shard["path"]}'
        try:
            with Raster.open(path) as raster:
                window = results.get('window') or Window(0, 0, raster.height, raster.width)
                noted = (results['width'], results['height']) if 'width' in results else None
                _require_size(path, window, noted)
                values, valid = self.read(raster, window)
                stretch = self.stretch.for_raster(raster, self.bands)
        except RasterError as error:
            raise ImageDecodeError(str(error)) from error
        results['img'] = self.prepare(values, valid, stretch)
        results['img_shape'] = results['ori_shape'] = valid.shape
        if not valid.all():
            results['gt_seg_map'] = np.where(valid, VALID, NO_DATA).astype(np.uint8)
            results['ignore_index'] = NO_DATA
            _ignore_unseen(results.get('instances', ()), valid)
        return results

    def read(self, raster: Raster, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read the bands of a window (H, W, C), and which of its pixels are valid, (H, W) bool.

        Raises:
            RasterError: See `Raster.read`.
        """
        values, valid = raster.read(window, self.bands)
        return values, valid & within(values, self.valid_range)

    def prepare(
        self, values: np.ndarray, valid: np.ndarray, stretch: Stretch | None = None
    ) -> np.ndarray:
        """Make the image of a window that has been read.

        Args:
            values: (H, W, C), the bands of :attr:`bands`.
            valid: (H, W) bool.
            stretch: What ``self.stretch.for_raster`` gave for the raster, if that is at hand.

        Returns:
            (H, W, C) float32, 0 to 255.
        """
        return (stretch or self.stretch)(values, valid, self.fill)

    def picture(self, path: str) -> np.ndarray:
        """Load a raster to look at: its first three bands as red, green and blue, or the first as grey.

        Returns:
            (H, W, 3) uint8.
        """
        return first_three(self.transform(dict(img_path=path))['img'])


def first_three(image: np.ndarray) -> np.ndarray:
    """The first three bands of an image (H, W, C) in 0 to 255, or the first one thrice, as uint8."""
    shown = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, axis=-1)
    return np.rint(shown).clip(0, 255).astype(np.uint8)


def raster_loader(dataset: Any) -> LoadRaster | None:
    """The `LoadRaster` in the pipeline of a data set, or of the first one inside of a wrapper.

    None if images are loaded by something else.
    """
    for inner in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if inner is not None:
            return raster_loader(inner)
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    return next((step for step in steps if isinstance(step, LoadRaster)), None)


def _require_size(path: str, window: Window, noted: tuple[int, int] | None) -> None:
    if noted and noted != (window.width, window.height):
        raise AnnotationError(
            f"The raster '{path}' is {window.width}x{window.height} (width x height), its annotation "
            f'says {noted[0]}x{noted[1]}, so boxes and masks would not lie where the objects are. Use '
            'the raster that was annotated, or correct width and height.'
        )


def _ignore_unseen(instances: Sequence[dict[str, Any]], valid: np.ndarray) -> None:
    """Have objects ignored in whose box no pixel is valid."""
    for instance in instances:
        x0, y0, x1, y1 = instance['bbox']
        rows = slice(max(int(y0), 0), max(int(np.ceil(y1)), 0))
        cols = slice(max(int(x0), 0), max(int(np.ceil(x1)), 0))
        if not valid[rows, cols].any():
            instance['ignore_flag'] = 1
