"""The images of a config, as a cache is made of them."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rs4d.config import inner_datasets
from rs4d.datasets import ImageDecodeError
from rs4d.errors import ConfigError

from .header import (
    CACHED_LOADER,
    TeacherCacheError,
    describe_images,
    pixel_transforms,
    type_name,
)
from .keys import KeySet, hash_keys, image_key, rank_of

_TRIES = 4


@dataclass
class LoadedImage:
    """An image after the pipeline.

    Args:
        key: Its name in the cache.
        pixels: (C, H, W) as the data preprocessor takes them, None if it cannot be decoded.
        img_shape: Height and width of the part that is not padding.
        problem: Why there are no pixels.
    """

    key: str
    pixels: Tensor | None
    img_shape: tuple[int, int] = (0, 0)
    problem: str = ''


class ImagesToCache(Dataset):
    """The distinct images of a config's data sets, 12 bytes each beside the data sets themselves.

    Rows count through the data sets, one behind the other; those of images that were there before
    are left out by all methods.

    Args:
        cfg: A config of stage 1, with or without a cache.
        splits: Which of ``<split>_dataloader`` to take.

    Attributes:
        pipeline: What makes their pixels, as a header describes it.

    Raises:
        TeacherCacheError: The pipelines differ between the data sets, or two images have the same name.
        ConfigError: The config has no such data loader.
    """

    def __init__(self, cfg: Config, splits: Sequence[str] = ('train', 'val')) -> None:
        self._sources: list[tuple[Any, list[str]]] = []
        self.pipeline: list[dict[str, Any]] = []
        for split in splits:
            loader = cfg.get(f'{split}_dataloader')
            if loader is None:
                raise ConfigError(
                    f"The config '{cfg.filename}' has no {split}_dataloader. Name the splits that it "
                    'has by --splits.'
                )
            for dataset_cfg in inner_datasets(loader.dataset):
                self._add_source(dataset_cfg, split)
        self._ends = np.cumsum([len(dataset) for dataset, _ in self._sources])
        total = int(self._ends[-1])
        hashes = hash_keys(map(self.key, range(total)), total)
        rows = np.argsort(hashes, kind='stable').astype(np.uint32)
        hashes = hashes[rows]
        again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        for place in again:
            self._require_same_image(int(rows[place - 1]), int(rows[place]))
        self._rows = np.delete(rows, again)
        self._keys = KeySet(np.delete(hashes, again))

    def _add_source(self, cfg: dict[str, Any], split: str) -> None:
        transforms = pixel_transforms(cfg.get('pipeline', []))
        described = describe_images(transforms)
        if self._sources and described != self.pipeline:
            raise TeacherCacheError(
                f'The data sets of the config make their images by different transforms: {split} by '
                f'{described}, those before it by {self.pipeline}. A cache is of one pipeline. Make '
                'them the same, or cache one at a time (--splits) into folders of their own.'
            )
        self.pipeline = described
        dataset = DATASETS.build(dict(cfg) | dict(pipeline=deepcopy(transforms)))
        loaders = [t for t in cfg.get('pipeline', []) if type_name(t) == CACHED_LOADER]
        roots = loaders[0].get('data_root') if loaders else None
        roots = (
            roots or getattr(dataset, 'roots', None) or getattr(dataset, 'data_root', None) or []
        )
        self._sources.append((dataset, [roots] if isinstance(roots, str) else list(roots)))

    def _require_same_image(self, *rows: int) -> None:
        key = self.key(rows[1])
        first, second = (str(self._info(row).get('img_path', '')) for row in rows)
        if first != second:
            raise TeacherCacheError(
                f"Two images have the same name '{key}' in a cache: '{first}' and '{second}'. Load "
                'the embeddings by LoadTeacherEmbedding with a data_root that contains both data '
                'sets, and make the cache from that config.'
            )

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __getitem__(self, row: int) -> LoadedImage:
        key = self.key(row)
        source, index = self._place(row)
        try:
            sample = self._sources[source][0].prepare_data(index)
        except ImageDecodeError as error:
            return LoadedImage(key, None, problem=str(error))
        if sample is None:
            return LoadedImage(key, None, problem=f"The data set gives no image for '{key}'.")
        pixels = np.ascontiguousarray(np.atleast_3d(sample['img']).transpose(2, 0, 1))
        height, width = sample['img_shape'][:2]
        return LoadedImage(key, torch.from_numpy(pixels), (int(height), int(width)))

    def key(self, row: int) -> str:
        """An image's name in the cache."""
        return image_key(self._info(row), self._sources[self._place(row)[0]][1])

    def missing(
        self, *known: KeySet, rank: int = 0, world_size: int = 1
    ) -> NDArray[np.unsignedinteger]:
        """The rows (N,) of the images that no set of ``known`` has and that are a rank's to encode."""
        hashes = self._keys.hashes
        wanted = rank_of(hashes, world_size) == rank
        for keys in known:
            wanted &= ~keys.has(hashes)
        return np.sort(self._rows[wanted])

    def require_repeatable(self) -> None:
        """Make some images several times, and raise if the pixels differ from time to time."""
        for row in range(min(_TRIES, len(self))):
            first = self[row].pixels
            for _ in range(_TRIES - 1):
                again = self[row].pixels
                if first is not None and again is not None and not torch.equal(first, again):
                    raise TeacherCacheError(
                        f"The pipeline makes other pixels of the image '{self.key(row)}' each time, "
                        'so that an embedding made once would be of other pixels than the student '
                        'sees. Leave random transforms out; noise and masks on the student come from '
                        "the distiller's corruption and do no harm."
                    )

    def _place(self, row: int) -> tuple[int, int]:
        source = int(np.searchsorted(self._ends, row, side='right'))
        return source, int(row) - int(self._ends[source]) + len(self._sources[source][0])

    def _info(self, row: int) -> dict[str, Any]:
        source, index = self._place(row)
        return self._sources[source][0].get_data_info(index)
