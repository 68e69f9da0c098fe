"""Loading of images of three bands and 8 bits, or of what can be made such."""

from typing import Any

from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from ..errors import AnnotationError
from ..image_reading import decode, read_file


@TRANSFORMS.register_module(name=['LoadImage', 'LoadReducedImage'])
class LoadImage(BaseTransform):
    """Load an image from a file or a tar shard, as it was when it was annotated.

    The size in the annotations decides if EXIF's orientation counts, a fourth band is left out
    instead of being taken for a transparency, and 16-bit values keep the bits that they use; see
    :func:`rs4d.datasets.image_reading.decode`. Of other images it gives the pixels that
    ``LoadImageFromFile`` gives.

    Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``, and ``ori_shape``, both the size of the
    decoded image, as scale factors refer to it.

    Args:
        scale: Width and height of the rectangle into which the next ``Resize`` fits the image, whose
            ratio is kept. A JPEG without annotations is decoded at 1/2, 1/4 or 1/8 of its size where
            that still is as large; pixels differ a little from those of a full decode and resize.
        bits: How many bits 16-bit images have in use, the same for all of them, such as 11 or 12; None
            finds out for each.
    """

    def __init__(self, scale: tuple[int, int] | None = None, bits: int | None = None) -> None:
        self.scale = scale
        self.bits = bits

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load ``img_path``, in a tar from ``shard``; annotations bring ``width`` and ``height``.

        Raises:
            DatasetNotFoundError: The file is not there.
            ImageDecodeError: It cannot be read or decoded.
            AnnotationError: It has another size than its annotations say.
        """
        path = results['img_path']
        # Boxes would not shrink with the image.
        noted = (results['width'], results['height']) if 'width' in results else None
        scale = None if noted else self.scale
        image = decode(read_file(path, results.get('shard')), path, scale, noted, self.bits)
        if noted and image.shape[1::-1] != noted:
            raise AnnotationError(
                f"The image '{path}' is {image.shape[1]}x{image.shape[0]} (width x height), its "
                f'annotation says {noted[0]}x{noted[1]}, so boxes and masks would not lie where '
                'the objects are. Use the image that was annotated, or correct width and height.'
            )
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
