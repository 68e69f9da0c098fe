"""Packing for stage 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from .teacher_cache import TeacherCacheError

META_KEYS = ('img_id', 'img_path', 'img_key', 'ori_shape', 'img_shape', 'scale_factor')


@TRANSFORMS.register_module()
class PackDistillInputs(PackDetInputs):
    """Pack an image, and what `LoadTeacherEmbedding` has loaded, if that is in the pipeline.

    Args:
        meta_keys: Which entries of the sample go into its meta information.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys)

    def transform(self, results: dict) -> dict[str, Any]:
        """Pack a sample.

        Args:
            results: The sample, with ``img`` (H, W, C) and perhaps ``teacher_maps``.

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
        packed['inputs'] = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)
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
