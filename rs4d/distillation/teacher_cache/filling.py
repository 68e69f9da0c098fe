"""Running a teacher once over images, and what that will take."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
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
from rs4d.errors import SetupError

from .errors import TeacherCacheError
from .header import CacheHeader, describe_normalisation, describe_teacher
from .images import ImagesToCache, LoadedImage
from .keys import KeySet, hash_keys
from .skipped import read_skipped, too_many_skipped
from .writer import TeacherCacheWriter

GIB = 2**30


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

    def header(self, pipeline: list[dict[str, Any]], image: LoadedImage) -> CacheHeader:
        """Say what a cache of this teacher is of; an image is encoded to see how large the maps are."""
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
    """SHA-256 of a module's parameters and buffers, with their names."""
    result = sha256()
    for name, value in sorted(module.state_dict().items()):
        result.update(f'{name} {tuple(value.shape)} {value.dtype}'.encode())
        flat = value.detach().cpu().contiguous().flatten()
        result.update(flat.view(torch.uint8).numpy().tobytes())
    return result.hexdigest()


@dataclass
class Work:
    """What is left to do, and what it will take.

    Args:
        done: How many of the images are in the cache.
        unreadable: How many are known to be unreadable.
        missing: How many are neither, of all ranks.
        rows: (N,) those of them that this rank encodes.
        header: What the cache will be of; None if none of this rank's images can be read.
        seconds: About how long this rank will take.
    """

    done: int
    unreadable: int
    missing: int
    rows: NDArray[np.unsignedinteger]
    header: CacheHeader | None = None
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Disk for what is missing, of all ranks."""
        return self.missing * self.header.bytes_per_image if self.header else 0

    def require_space(self, folder: str | os.PathLike[str]) -> None:
        """Raise if the disk of the cache is too small."""
        free = free_space(folder)
        if self.bytes > free:
            raise TeacherCacheError(
                f'The missing embeddings take {self.bytes / GIB:.2f} GiB and the disk of '
                f"'{folder}' has {free / GIB:.2f} GiB free. Choose another --out, or a smaller part "
                'of the data set (fraction of SA1BDataset).'
            )


def plan_work(
    images: ImagesToCache,
    encoder: TeacherEncoder,
    folder: str | os.PathLike[str],
    done: KeySet,
    rank: int,
    world_size: int,
    batch_size: int,
    num_workers: int,
) -> Work:
    """Look at what is left to do, and encode a batch to see how long it takes.

    Args:
        images: All images.
        encoder: The teacher.
        folder: The cache, which need not be there yet.
        done: The images that it has.
        rank: This process' rank.
        world_size: The number of ranks.
        batch_size: Images in a batch.
        num_workers: Processes that load them.

    Raises:
        TeacherCacheError: More images are known to be unreadable than a data set may have.
    """
    require_readable(folder, images)
    skipped = KeySet(hash_keys(read_skipped(folder)))
    left, missing = len(images.missing(done)), len(images.missing(done, skipped))
    rows = images.missing(done, skipped, rank=rank, world_size=world_size)
    work = Work(len(images) - left, left - missing, missing, rows)
    sample: list[LoadedImage] = []
    start = time.perf_counter()
    for row in rows:
        image = images[row]
        sample += [image] if image.pixels is not None else []
        if len(sample) == batch_size:
            break
    loading = (time.perf_counter() - start) / max(len(sample), 1)
    if sample:
        work.header = encoder.header(images.pipeline, sample[0])
        start = time.perf_counter()
        encoder(sample)
        encoding = (time.perf_counter() - start) / len(sample)
        each = max(encoding, loading / num_workers) if num_workers else encoding + loading
        work.seconds = each * len(rows)
    return work


def fill_cache(
    work: Work,
    images: ImagesToCache,
    encoder: TeacherEncoder,
    writer: TeacherCacheWriter,
    batch_size: int,
    num_workers: int,
) -> Iterator[LoadedImage]:
    """Encode images and write them.

    Args:
        work: What `plan_work` has found.
        images: All images.
        encoder: The teacher.
        writer: Of the cache; closing it writes what is not yet in a shard.
        batch_size: Images in a batch.
        num_workers: Processes that load them.

    Yields:
        The images, when they are encoded or noted as unreadable.

    Raises:
        TeacherCacheError: An image has another size than the others, or too many are unreadable.
    """
    loader: DataLoader = DataLoader(
        Subset(images, cast(Sequence[int], work.rows)),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=list,
    )
    for batch in loader:
        whole = [image for image in batch if image.pixels is not None]
        if whole and writer.header is None:
            writer.start(work.header or encoder.header(images.pipeline, whole[0]))
        for image in whole:
            _require_size(image, cast(CacheHeader, writer.header).image_size)
        for image, maps in zip(whole, encoder(whole) if whole else (), strict=True):
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
    problem = too_many_skipped(skipped_of(folder, images), len(images))
    if problem is not None:
        raise TeacherCacheError(f"The teacher cache '{folder}': {problem}")


def free_space(folder: str | os.PathLike[str]) -> int:
    """Free bytes on the disk that a folder is or will be on."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _require_size(image: LoadedImage, size: Sequence[int]) -> None:
    """Refuse an image of another size, since a batch would pad all to the largest of them."""
    found = list(cast(Tensor, image.pixels).shape[-2:])
    if found != list(size):
        raise TeacherCacheError(
            f"The image '{image.key}' is {found[0]}x{found[1]} pixels after the pipeline, the first "
            f'one {size[0]}x{size[1]} (height x width). Bring all images to one size by Resize and '
            'PadKeepingShape, so that an embedding does not depend on the batch.'
        )
