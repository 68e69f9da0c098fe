"""Loading the teacher's embedding from a cache, beside the image that it is of."""

import os
from collections.abc import Sequence
from typing import Any

from mmcv.transforms import BaseTransform, Compose
from mmdet.registry import TRANSFORMS

from .errors import TeacherCacheError
from .header import EMBEDDING
from .keys import image_key
from .pipeline import describe_images, require_no_chance
from .reader import TeacherCacheReader


@TRANSFORMS.register_module()
class LoadTeacherEmbedding(BaseTransform):
    """Make the image as the cache's was made, and load the teacher's maps of it.

    The transforms that make the pixels are this one's own, so that they can be compared with those
    of the cache: another size or padding is an error, as is anything random. It runs in the data
    loader's workers. `PackDistillInputs` hands the maps on to the distiller.

    Args:
        cache_dir: The folder that ``rs4d cache-teacher`` has written.
        transforms: Configs of the transforms that load, scale and pad the image.
        data_root: The data set's root or roots, below which an image's path is its name; not needed
            where the data set names its images itself (``img_key``).
        maps: Which of the cached maps to load: ``'embedding'`` for the last one, ``'block2'`` for
            that of the teacher's block 2.

    Raises:
        TeacherCacheError: There is no cache, it was made with other transforms, or lacks a map.
    """

    def __init__(
        self,
        cache_dir: str,
        transforms: Sequence[dict[str, Any]],
        data_root: str | Sequence[str] = (),
        maps: Sequence[str] = (EMBEDDING,),
    ) -> None:
        require_no_chance(transforms)
        self.reader = TeacherCacheReader(cache_dir)
        self.reader.header.require_same(cache_dir, pipeline=describe_images(transforms))
        self.roots = [data_root] if isinstance(data_root, str) else list(data_root)
        self.maps = tuple(maps)
        missing = [name for name in self.maps if name not in self.reader.header.maps]
        if missing:
            raise TeacherCacheError(
                f"The teacher cache '{cache_dir}' has the maps {', '.join(self.reader.header.maps)} "
                f'and not {", ".join(missing)}. Make one with rs4d cache-teacher from a config '
                "whose model.losses compare the teacher's blocks."
            )
        self.transforms = Compose([TRANSFORMS.build(cfg) for cfg in transforms])

    def transform(self, results: dict) -> dict | None:
        """Make the image and load its maps.

        Args:
            results: The data set's entry of an image.

        Returns:
            The sample with ``img``, and ``teacher_maps``, a dict from names to (C, H, W) in float16;
            None if one of the transforms gives none.

        Raises:
            TeacherCacheError: The cache has no such image, or had it in another size.
        """
        made = self.transforms(results)
        if made is None:
            return None
        key = image_key(made, self.roots)
        cached, found = self.reader.img_shape(key), tuple(made['img_shape'][:2])
        size = self.reader.header.image_size
        if cached != found or list(made['img'].shape[:2]) != size:
            raise TeacherCacheError(
                f"The image '{key}' is {found[0]}x{found[1]} in {made['img'].shape[0]}x"
                f'{made["img"].shape[1]} pixels after the pipeline, but was {cached[0]}x{cached[1]} '
                f"in {size[0]}x{size[1]} when the teacher cache '{self.reader.folder}' was made: it "
                'is another image. Make the cache again for this data set.'
            )
        made['teacher_maps'] = self.reader.read(key, self.maps)
        made['teacher_maps_of'] = made['img']
        return made

    def __repr__(self) -> str:
        folder = os.fspath(self.reader.folder)
        return f'{type(self).__name__}(cache_dir={folder!r}, maps={self.maps})'
