"""Running a teacher once over the images of a config, for ``tools/cache_teacher.py``."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils.data import Dataset

from rs4d.config import inner_datasets
from rs4d.datasets import ImageDecodeError
from rs4d.distillation.feature_distiller import FeatureDistiller
from rs4d.distillation.frozen_teacher import FrozenTeacher
from rs4d.distillation.teacher_cache import (
    CacheHeader,
    TeacherCacheError,
    describe_images,
    describe_normalisation,
    describe_teacher,
    image_key,
    pixel_transforms,
    require_no_chance,
)
from rs4d.distillation.teacher_cache.pipeline import CACHED_LOADER, type_name
from rs4d.errors import SetupError

_TRIES = 4


@dataclass
class LoadedImage:
    """An image after the pipeline.

    Args:
        key: Its name in the cache.
        pixels: (C, H, W) as the data preprocessor takes them, or None if it cannot be decoded.
        img_shape: Height and width of the part that is not padding.
        problem: Why there are no pixels.
    """

    key: str
    pixels: Tensor | None
    img_shape: tuple[int, int] = (0, 0)
    problem: str = ''


class ImagesToCache(Dataset):
    """The distinct images of a config's data sets, by the names that they have in a cache.

    Args:
        cfg: A config of stage 1, with or without a cache.
        splits: Which of ``<split>_dataloader`` to take.

    Attributes:
        keys: The images' names, in the order of the data sets.
        pipeline: What makes their pixels, as a header describes it.

    Raises:
        TeacherCacheError: The pipelines draw random numbers or differ between the data sets, or two
            images have the same name.
        SetupError: The config has no such data loader.
    """

    def __init__(self, cfg: Config, splits: Sequence[str] = ('train', 'val')) -> None:
        self._sources: list[tuple[Any, list[str]]] = []
        self.pipeline: list[dict[str, Any]] = []
        for split in splits:
            for dataset_cfg in inner_datasets(_dataset_config(cfg, split)):
                self._add_source(dataset_cfg, split)
        places: dict[str, tuple[int, int, str]] = {}
        for number, (dataset, roots) in enumerate(self._sources):
            for index in range(len(dataset)):
                info = dataset.get_data_info(index)
                key, path = image_key(info, roots), str(info.get('img_path', ''))
                known = places.setdefault(key, (number, index, path))
                if known[2] != path:
                    raise TeacherCacheError(
                        f"Two images have the same name '{key}' in a cache: '{known[2]}' and "
                        f"'{path}'. Load the embeddings by LoadTeacherEmbedding with a data_root "
                        'that contains both data sets, and make the cache from that config.'
                    )
        self._places = places
        self.keys = list(places)

    def _add_source(self, cfg: dict[str, Any], split: str) -> None:
        transforms = pixel_transforms(cfg.get('pipeline', []))
        require_no_chance(transforms)
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

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, index: int) -> LoadedImage:
        key = self.keys[index]
        number, place, path = self._places[key]
        try:
            sample = self._sources[number][0].prepare_data(place)
        except ImageDecodeError as error:
            return LoadedImage(key, None, problem=str(error))
        if sample is None:
            return LoadedImage(key, None, problem=f"The data set gives no image for '{path}'.")
        pixels = np.ascontiguousarray(sample['img'].transpose(2, 0, 1))
        height, width = sample['img_shape'][:2]
        return LoadedImage(key, torch.from_numpy(pixels), (int(height), int(width)))

    def require_repeatable(self) -> None:
        """Make some images several times and compare the pixels.

        Raises:
            TeacherCacheError: They differ from time to time.
        """
        for index in range(min(_TRIES, len(self))):
            first = self[index].pixels
            for _ in range(_TRIES - 1):
                again = self[index].pixels
                if first is not None and again is not None and not torch.equal(first, again):
                    raise TeacherCacheError(
                        f"The pipeline makes other pixels of the image '{self.keys[index]}' each "
                        'time, so that an embedding made once would be of other pixels than the '
                        'student sees. Leave out of it what is random.'
                    )


def require_size(image: LoadedImage, size: Sequence[int]) -> None:
    """Refuse an image of another size than the others, which a batch would pad to the largest of them.

    Args:
        image: With pixels.
        size: Height and width of the others.

    Raises:
        TeacherCacheError: It has another.
    """
    found = list(image.pixels.shape[-2:]) if image.pixels is not None else list(size)
    if found != list(size):
        raise TeacherCacheError(
            f"The image '{image.key}' is {found[0]}x{found[1]} pixels after the pipeline, the first "
            f'one {size[0]}x{size[1]} (height x width). Bring all images to one size by Resize and '
            'PadKeepingShape, so that an embedding does not depend on the batch.'
        )


class TeacherEncoder:
    """The teacher of a config, run as the distiller would run it.

    Args:
        cfg: A config of stage 1, with or without a cache.
        device: Where to run.
        precision: In what it is held and runs, such as ``'float16'``; None for what the config says.

    Raises:
        SetupError: The config's model is no distiller.
        CheckpointNotFoundError: The teacher's checkpoint is not there.
    """

    def __init__(self, cfg: Config, device: torch.device, precision: str | None = None) -> None:
        model_cfg = deepcopy(dict(cfg.model))
        if not issubclass(cast(type, MODELS.get(model_cfg['type'])), FeatureDistiller):
            raise SetupError(
                f"The config '{cfg.filename}' trains a {model_cfg['type']}. A cache is of the teacher "
                'of stage 1: give a config of a FeatureDistiller, such as those in configs/distill.'
            )
        self.description = dict(
            teacher=describe_teacher(model_cfg['teacher']),
            normalisation=describe_normalisation(
                model_cfg.get('data_preprocessor'),
                model_cfg.get('teacher_mean'),
                model_cfg.get('teacher_std'),
            ),
        )
        self.device = device
        self.precision = precision or model_cfg.get('teacher_dtype', 'float32')
        own = dict(teacher_cache=None, teacher_dtype=self.precision)
        self.model = MODELS.build(model_cfg | own).to(device).eval()
        teacher = cast(FrozenTeacher, self.model.teacher)
        teacher.load()
        self.weights = weights_digest(teacher.encoder)

    @torch.no_grad()
    def __call__(self, images: Sequence[LoadedImage]) -> list[dict[str, Tensor]]:
        """Encode a batch.

        Args:
            images: With pixels.

        Returns:
            For each image its maps (C, H, W) by name, on the CPU.
        """
        data: dict[str, Any] = dict(
            inputs=[image.pixels for image in images],
            data_samples=[
                DetDataSample(metainfo=dict(img_shape=image.img_shape)) for image in images
            ],
        )
        inputs = self.model.data_preprocessor(data, False)['inputs']
        maps = self.model.teacher_maps(inputs)
        on_cpu = {name: value.float().cpu() for name, value in maps.items()}
        return [{name: value[i] for name, value in on_cpu.items()} for i in range(len(images))]

    def header(self, pipeline: list[dict[str, Any]], image: LoadedImage) -> CacheHeader:
        """Say what a cache of this teacher is of.

        Args:
            pipeline: What makes the pixels.
            image: Any image; it is encoded to see how large the maps are.

        Returns:
            The header.
        """
        pixels = cast(Tensor, image.pixels)
        return CacheHeader(
            pipeline=pipeline,
            weights=self.weights,
            precision=self.precision,
            image_size=list(pixels.shape[-2:]),
            maps={name: list(value.shape) for name, value in self([image])[0].items()},
            **self.description,
        )


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers, with their names.

    Args:
        module: The module.

    Returns:
        The digest.
    """
    result = sha256()
    for name, value in sorted(module.state_dict().items()):
        result.update(f'{name} {tuple(value.shape)} {value.dtype}'.encode())
        flat = value.detach().cpu().contiguous().flatten()
        result.update(flat.view(torch.uint8).numpy().tobytes())
    return result.hexdigest()


def _dataset_config(cfg: Config, split: str) -> dict[str, Any]:
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise SetupError(
            f"The config '{cfg.filename}' has no {split}_dataloader. Name the splits that it has by "
            '--splits.'
        )
    return loader.dataset
