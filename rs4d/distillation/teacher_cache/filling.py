"""Running a teacher once over images, and keeping what it says."""

import os
import shutil
from collections.abc import Iterator, Sequence
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from rs4d.distillation.feature_distiller import FeatureDistiller
from rs4d.distillation.frozen_teacher import FrozenTeacher
from rs4d.errors import ConfigError, some

from .header import (
    CacheHeader,
    TeacherCacheError,
    describe_normalisation,
    describe_teacher,
)
from .images import ImagesToCache, LoadedImage
from .index import RETRY, read_skipped
from .keys import KeySet, hash_keys
from .writer import TeacherCacheWriter

# Of a data set's images, how many may be unreadable.
MAX_SKIPPED = 0.01
_GIB = 2**30


class TeacherEncoder:
    """The teacher of a config, run as the distiller would run it.

    Args:
        cfg: A config of stage 1, with or without a cache.
        device: Where to run.
        precision: In what it is held and runs, such as ``'float16'``; None for what the config says.

    Raises:
        ConfigError: The config's model is no distiller.
        CheckpointNotFoundError: The teacher's checkpoint is not there.
    """

    def __init__(self, cfg: Config, device: torch.device, precision: str | None = None) -> None:
        model_cfg = deepcopy(dict(cfg.model))
        if not issubclass(cast(type, MODELS.get(model_cfg['type'])), FeatureDistiller):
            raise ConfigError(
                f"The config '{cfg.filename}' trains a {model_cfg['type']}. A cache is of the teacher "
                'of stage 1: give a config of a FeatureDistiller, such as those in configs/distill.'
            )
        self.description = dict(
            teacher=describe_teacher(model_cfg['teacher']),
            normalisation=describe_normalisation(
                model_cfg.get('data_preprocessor'),
                model_cfg.get('teacher_mean'),
                model_cfg.get('teacher_std'),
                model_cfg.get('teacher_bands'),
            ),
        )
        self.precision = precision or model_cfg.get('teacher_dtype', 'float32')
        own = dict(teacher_cache=None, teacher_dtype=self.precision)
        self.model = MODELS.build(model_cfg | own).to(device).eval()
        teacher = cast(FrozenTeacher, self.model.teacher)
        teacher.load()
        self.weights = weights_digest(teacher.encoder)

    @torch.no_grad()
    def __call__(self, images: Sequence[LoadedImage]) -> list[dict[str, Tensor]]:
        """Encode images with pixels; for each its maps (C, H, W) by name, on the CPU."""
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

    def header(
        self, pipeline: list[dict[str, Any]], image: LoadedImage, maps: dict[str, Tensor]
    ) -> CacheHeader:
        """Say what a cache is of that begins with this image and its maps."""
        return CacheHeader(
            pipeline=pipeline,
            weights=self.weights,
            precision=self.precision,
            image_size=_size(image),
            maps={name: list(value.shape) for name, value in maps.items()},
            **self.description,
        )


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's parameters and buffers, with their names."""
    result = sha256()
    for name, value in sorted(module.state_dict().items()):
        result.update(f'{name} {tuple(value.shape)} {value.dtype}'.encode())
        flat = value.detach().cpu().contiguous().flatten()
        result.update(flat.view(torch.uint8).numpy().tobytes())
    return result.hexdigest()


def fill_cache(
    rows: NDArray[np.unsignedinteger],
    images: ImagesToCache,
    encoder: TeacherEncoder,
    writer: TeacherCacheWriter,
    batch_size: int,
    num_workers: int,
) -> Iterator[LoadedImage]:
    """Encode images and write them.

    Args:
        rows: (N,) those that this rank encodes.
        images: All images.
        encoder: The teacher.
        writer: Of the cache; closing it writes what is not yet in a shard.
        batch_size: As of a data loader.
        num_workers: Likewise.

    Yields:
        The images, when they are encoded or noted as unreadable.

    Raises:
        TeacherCacheError: An image has another size than the others, too many are unreadable, or the
            disk is too small for what is missing.
    """
    loader: DataLoader = DataLoader(
        Subset(images, cast(Sequence[int], rows)),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=list,
    )
    size: list[int] = []
    for batch in loader:
        whole = [image for image in batch if image.pixels is not None]
        for image in whole:
            size = size or _size(image)
            _require_size(image, size)
        encoded = encoder(whole) if whole else []
        if whole and writer.header is None:
            header = encoder.header(images.pipeline, whole[0], encoded[0])
            missing = len(images.missing(writer.done, KeySet(hash_keys(writer.skipped))))
            _require_space(writer.folder, missing * header.bytes_per_image)
            writer.start(header)
        for image, maps in zip(whole, encoded, strict=True):
            writer.add(image.key, maps, image.img_shape)
        for image in batch:
            if image.pixels is None:
                writer.skip(image.key, image.problem)
            yield image
        if len(whole) < len(batch):
            require_readable(writer.folder, images)


def skipped_of(folder: str | os.PathLike[str], images: ImagesToCache) -> dict[str, str]:
    """Read which of a config's images could not be read, by any rank so far, and why."""
    return {key: why for key, why in read_skipped(folder).items() if key in images}


def require_readable(folder: str | os.PathLike[str], images: ImagesToCache) -> None:
    """Raise if too many of a config's images could not be read."""
    skipped, total = skipped_of(folder, images), len(images)
    if len(skipped) > MAX_SKIPPED * total:
        raise TeacherCacheError(
            f"The teacher cache '{folder}': {len(skipped)} of the {total} images could not be read, "
            f'more than {MAX_SKIPPED:.0%}: {some(skipped)}. Get them again, then {RETRY}; the '
            'embeddings of the others are kept.'
        )


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TeacherCacheError(
            f'The missing embeddings take {needed / _GIB:.2f} GiB and the disk of '
            f"'{folder}' has {free / _GIB:.2f} GiB free. Choose another --out, or a smaller part "
            'of the data set (fraction of SA1BDataset).'
        )


def _require_size(image: LoadedImage, size: list[int]) -> None:
    """Refuse an image of another size, since a batch would pad all to the largest of them."""
    found = _size(image)
    if found != size:
        raise TeacherCacheError(
            f"The image '{image.key}' is {found[0]}x{found[1]} pixels after the pipeline, the first "
            f'one {size[0]}x{size[1]} (height x width). Bring all images to one size by Resize and '
            'PadKeepingShape, so that an embedding does not depend on the batch.'
        )


def _size(image: LoadedImage) -> list[int]:
    return list(cast(Tensor, image.pixels).shape[-2:])
