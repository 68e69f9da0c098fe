"""The pipeline of stage 1: the teacher's embedding from a cache beside its image, and packing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from .header import EMBEDDING, TeacherCacheError, describe_images
from .keys import image_key
from .reader import TeacherCacheReader

META_KEYS = ('img_id', 'img_path', 'img_key', 'ori_shape', 'img_shape', 'scale_factor')


@TRANSFORMS.register_module()
class LoadTeacherEmbedding(BaseTransform):
    """Make the image as the cache's was made, and load the teacher's maps of it.

    The transforms that make the pixels are this one's own, so that they can be compared with those
    of the cache: another size or padding is an error, as is anything random. `PackDistillInputs`
    hands the maps on to the distiller.

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
        """Make the image of a data set's entry and load its maps.

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


@TRANSFORMS.register_module()
class PackDistillInputs(PackDetInputs):
    """Pack an image, and what `LoadTeacherEmbedding` has loaded, if that is in the pipeline."""

    def __init__(self) -> None:
        super().__init__(META_KEYS)

    def transform(self, results: dict) -> dict[str, Any]:
        """Pack a sample, with ``img`` (H, W, C) and perhaps ``teacher_maps``.

        Returns:
            ``inputs`` (C, H, W), whose channels lie next to each other in memory as they did in
            ``img``, and ``data_samples``, which has each of the teacher's maps as
            ``teacher_<name>``, (C, H, W) in float16.

        Raises:
            TeacherCacheError: The image was changed after its embedding had been loaded.
        """
        packed = super().transform({key: results[key] for key in results if key != 'img'})
        # A view: putting the channels one after another would take a sixth of the time that reading
        # an image takes here, and the model's preprocessor makes new tensors anyway.
        packed['inputs'] = torch.from_numpy(
            np.ascontiguousarray(np.atleast_3d(results['img']))
        ).permute(2, 0, 1)
        maps = results.get('teacher_maps', {})
        if maps and results.get('teacher_maps_of') is not results['img']:
            raise TeacherCacheError(
                'A transform behind LoadTeacherEmbedding changed the image, so that the cached '
                'embedding is no longer of it. Move what is not random into its transforms, and '
                'leave random ones out.'
            )
        for name, value in maps.items():
            packed['data_samples'].set_data({f'teacher_{name}': value})
        return packed
