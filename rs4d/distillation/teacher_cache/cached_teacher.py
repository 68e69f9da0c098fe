"""A teacher that has spoken before: its maps come with the images, from a cache."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..encoder_maps import block_channels, map_name
from .header import EMBEDDING, HEADER, TeacherCacheError, describe_teacher, read_cache_header


class CachedTeacher:
    """Stand where a `FrozenTeacher` would, without a network.

    Args:
        cfg: The teacher's config, which the cache has to have been made with.
        cache_dir: The cache.
        normalisation: What is done to pixels before the teacher sees them, of
            `describe_normalisation`; the cache's has to be the same.

    Raises:
        TeacherCacheError: The cache was made with another teacher or normalisation.
    """

    num_bands: int | None = None
    """It takes no images."""

    def __init__(
        self, cfg: dict[str, Any], cache_dir: str | os.PathLike[str], normalisation: dict[str, Any]
    ) -> None:
        self.cfg = cfg
        self.cache_dir = Path(cache_dir)
        self.normalisation = normalisation
        # A model can be built, counted and loaded where the cache is not; it cannot train there.
        self._has_cache = (self.cache_dir / HEADER).is_file()
        if self._has_cache:
            self.load()

    def load(self) -> None:
        """Compare the cache with the config; see the class."""
        read_cache_header(self.cache_dir).require_same(
            self.cache_dir, teacher=describe_teacher(self.cfg), normalisation=self.normalisation
        )

    def channels(self, block: int | None) -> int:
        """Channels of the map of a block, or of the last map (None).

        Raises:
            TeacherCacheError: The cache lacks the map.
        """
        if not self._has_cache:
            # An encoder on the meta device has neither weights nor memory.
            with torch.device('meta'):
                return block_channels(MODELS.build(self.cfg), block)
        maps = read_cache_header(self.cache_dir).maps
        name = map_name(block)
        if name not in maps:
            raise TeacherCacheError(
                f"The losses of the distiller need the teacher's map '{name}', but the cache "
                f"'{self.cache_dir}' has {', '.join(maps)}. Make it with rs4d cache-teacher from "
                'the config that has these losses, or correct model.losses.'
            )
        return maps[name][0]

    def maps(
        self, samples: Sequence[BaseDataElement] | None, blocks: Sequence[int], device: torch.device
    ) -> dict[str, Tensor]:
        """Collect what `LoadTeacherEmbedding` has loaded for a batch, by name (B, C, h, w) in float16.

        Raises:
            TeacherCacheError: The images came without them.
        """
        names = [EMBEDDING, *map(map_name, blocks)]
        missing = [name for name in names if not all(f'teacher_{name}' in s for s in samples or [])]
        if missing or not samples:
            raise TeacherCacheError(
                f"The distiller takes its teacher's maps from the cache '{self.cache_dir}', but the "
                f'images came without {", ".join(missing or names)}. Let the pipeline of the data '
                f'set load them by LoadTeacherEmbedding (maps={tuple(names)}) and end in '
                'PackDistillInputs, or set model.teacher_cache=None to run the teacher.'
            )
        return {
            name: torch.stack([sample.get(f'teacher_{name}') for sample in samples]).to(device)
            for name in names
        }
