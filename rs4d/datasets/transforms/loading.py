"""Loading images from files and tar shards, no larger than needed."""

import io
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from PIL import Image

from rs4d.datasets.errors import DatasetNotFoundError, ImageDecodeError
from rs4d.datasets.tar_shards import ShardReader

# JPEG's blocks of 8x8 decode to 4x4, 2x2 or 1x1 pixels for a fraction of the time.
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@TRANSFORMS.register_module()
class LoadReducedImage(BaseTransform):
    """Load an image from a file or a tar shard, decoding a JPEG at a fraction of its size.

    In the place of ``LoadImageFromFile`` in front of a ``Resize`` that keeps the ratio. The JPEG is
    decoded at 1/2, 1/4 or 1/8 of its size where that still is at least as large as ``scale`` asks
    for; the resize then does the rest. Pixels differ a little from those of a full decode and
    resize, as an average over blocks is not a bilinear sample.

    Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``, and ``ori_shape``, both the size of the
    decoded image, as scale factors refer to it.

    Args:
        scale: Width and height of the rectangle into which the next resize fits the image; None
            decodes in full.
        to_float32: Return float32.
    """

    def __init__(self, scale: tuple[int, int] | None = None, to_float32: bool = False) -> None:
        self.scale = scale
        self.to_float32 = to_float32
        self.reader = ShardReader()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the image.

        Args:
            results: ``img_path``, and for an image in a tar ``shard``, with the archive's ``path``
                and the image's ``offset`` and ``size`` in it.

        Returns:
            The same dict.

        Raises:
            DatasetNotFoundError: The file is not there.
            ImageDecodeError: It cannot be read or decoded.
        """
        path = results['img_path']
        image = decode(self._read(path, results.get('shard')), path, self.scale)
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, path: str, shard: dict[str, Any] | None) -> bytes:
        try:
            if shard is not None:
                return self.reader.read(shard['path'], shard['offset'], shard['size'])
            with open(path, 'rb') as file:
                return file.read()
        except FileNotFoundError as error:
            raise DatasetNotFoundError(
                f"The image '{path}' does not exist any more. Put it back, or start anew."
            ) from error
        except OSError as error:
            raise ImageDecodeError(f"The image '{path}' cannot be read ({error}).") from error

    def __repr__(self) -> str:
        """Return the transform with its arguments."""
        return f'LoadReducedImage(scale={self.scale}, to_float32={self.to_float32})'


def decode(data: bytes, path: str, scale: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image, a JPEG at a fraction of its size where ``scale`` allows.

    Args:
        data: The file's bytes.
        path: The file's name for messages.
        scale: See `LoadReducedImage`.

    Returns:
        (H, W, 3) uint8 in BGR, upright.

    Raises:
        ImageDecodeError: The bytes are no whole image.
    """
    flag = _REDUCED.get(reduction(data, scale), cv2.IMREAD_COLOR)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    except cv2.error:  # a header with impossible sizes
        image = None
    # OpenCV fills what is missing of a JPEG with grey; a whole one has its end mark.
    cut_off = data[:2] == b'\xff\xd8' and b'\xff\xd9' not in data[-4096:]
    if image is None or cut_off:
        state = 'is cut off' if cut_off else 'cannot be decoded as an image'
        raise ImageDecodeError(
            f"The image '{path}' ({len(data)} bytes) {state}: get it again, or remove it."
        )
    return image


def reduction(data: bytes, scale: tuple[int, int] | None) -> int:
    """By how much a JPEG may be reduced in decoding: 1, 2, 4 or 8.

    Args:
        data: The file's bytes.
        scale: Width and height of the rectangle into which the image will be fitted, in any
            orientation as ``Resize`` does: its longer side is for the image's longer one.
    """
    if scale is None or data[:2] != b'\xff\xd8':
        return 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return 1  # whether it is an image at all, the decoder will say
    # The factor by which Resize will shrink it.
    ratio = max(max(width, height) / max(scale), min(width, height) / min(scale))
    return next((factor for factor in (8, 4, 2) if factor <= ratio), 1)
