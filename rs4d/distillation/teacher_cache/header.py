"""What a cache is of: teacher, normalisation, pipeline and image size, in ``header.json``."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from rs4d.datasets.errors import ImageDecodeError
from rs4d.errors import UserError
from rs4d.files import write_json

CACHED_LOADER = 'LoadTeacherEmbedding'
HEADER = 'header.json'
FORMAT = 'rs4d-teacher-cache'
VERSION = 1
EMBEDDING = 'embedding'
_PACKERS = ('PackDetInputs', 'PackDistillInputs')
# What a teacher says does not depend on these, nor do the pixels.
_IMMATERIAL = ('with_cp', 'init_cfg', 'backend_args', 'file_client_args')
_NORMALISATION = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr', 'pad_size_divisor', 'pad_value')
_WORDS = dict(
    teacher='the teacher (model.teacher)',
    normalisation='the normalisation (model.data_preprocessor, teacher_mean, teacher_std and '
    'teacher_bands)',
    pipeline="the pipeline that makes the images (the data set's transforms)",
    weights="the teacher's weights",
    precision='the precision in which the teacher ran (--dtype)',
    image_size='the size of the images after the pipeline',
    maps='the maps of the teacher',
)


class TeacherCacheError(UserError, ValueError):
    """A cache of teacher embeddings is missing, damaged, incomplete or of something else."""


class SkippedImageError(TeacherCacheError, ImageDecodeError):
    """The cache has no embedding of an image that could not be read when it was made.

    To a data set it is a broken image, of which some may be: `SA1BDataset` leaves it out.
    """


@dataclass(frozen=True)
class CacheHeader:
    """What made a cache.

    Args:
        teacher: The teacher's config, with the file name of its checkpoint and not its folder.
        normalisation: The data preprocessor's, and the teacher's own.
        pipeline: The transforms that make the pixels.
        weights: Digest of the teacher's weights.
        precision: The dtype in which the teacher ran, such as ``'float32'``.
        image_size: Height and width of the images after the pipeline.
        maps: Channels, height and width of each map by its name.
    """

    teacher: dict[str, Any]
    normalisation: dict[str, Any]
    pipeline: list[dict[str, Any]]
    weights: str
    precision: str
    image_size: list[int]
    maps: dict[str, list[int]]

    @property
    def fingerprint(self) -> str:
        """Digest of all of it, which every shard carries."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def bytes_per_image(self) -> int:
        """Size of the maps of one image in half precision."""
        return sum(2 * c * h * w for c, h, w in self.maps.values())

    def require_same(self, source: str | os.PathLike[str], **wanted: Any) -> None:
        """Compare parts of the header of a cache (``source``) with what a config asks for.

        Raises:
            TeacherCacheError: Some differ; the message says which, and how.
        """
        differences = [
            f'{_WORDS[name]}: {_difference(getattr(self, name), value)}'
            for name, value in wanted.items()
            if getattr(self, name) != value
        ]
        if differences:
            raise TeacherCacheError(
                f"The cache of teacher embeddings '{source}' was made with something else than the "
                f'config asks for. Different: {"; ".join(differences)}. Use the config that it was '
                'made with, or make another cache with rs4d cache-teacher.'
            )

    def write(self, folder: Path) -> None:
        """Write the header, unless another rank already has; that of another cache is an error."""
        own = folder / f'{HEADER}.of{os.getpid()}'
        write_json(own, dict(format=FORMAT, version=VERSION, **asdict(self)), indent=1)
        try:
            # Unlike a renaming, linking fails where there is a file, so that one rank alone wins.
            os.link(own, folder / HEADER)
        except FileExistsError:
            read_cache_header(folder).require_same(folder, **asdict(self))
        finally:
            own.unlink()


def read_cache_header(folder: str | os.PathLike[str]) -> CacheHeader:
    """Read what a cache is of.

    Raises:
        TeacherCacheError: There is none, or it is not one of this version.
    """
    path = Path(folder) / HEADER
    remedy = 'Make the cache with rs4d cache-teacher <config> --out <folder>'
    if not path.is_file():
        raise TeacherCacheError(
            f"There is no cache of teacher embeddings in '{folder}' (no {HEADER}). {remedy}, or "
            'correct the path in the config.'
        )
    try:
        content = json.loads(path.read_text())
        if content.pop('format', None) != FORMAT:
            raise TypeError('another format')
        version = content.pop('version', None)
        if version != VERSION:
            raise TypeError(f'format version {version}, where this release reads {VERSION}')
        # In caches of earlier releases.
        content.pop('fingerprint', None)
        return CacheHeader(**content)
    except (ValueError, TypeError, AttributeError) as error:
        raise TeacherCacheError(
            f"'{path}' is no header of a teacher cache, or damaged ({error}). {remedy}."
        ) from error


def describe_teacher(cfg: dict[str, Any]) -> dict[str, Any]:
    """Describe an encoder's config in JSON's types, of its checkpoint the file name alone."""
    described = _plain(cfg)
    pretrained = cfg.get('init_cfg')
    if isinstance(pretrained, dict) and pretrained.get('checkpoint'):
        described.setdefault('checkpoint', pretrained['checkpoint'])
    if described.get('checkpoint') and '://' not in described['checkpoint']:
        described['checkpoint'] = Path(described['checkpoint']).name
    return described


def describe_normalisation(
    data_preprocessor: dict[str, Any] | None,
    teacher_mean: Sequence[float] | None = None,
    teacher_std: Sequence[float] | None = None,
    teacher_bands: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Describe in JSON's types what is done to pixels between pipeline and teacher.

    The arguments are configs as in `FeatureDistiller`.
    """
    cfg = dict(data_preprocessor or {})
    described = {key: cfg[key] for key in _NORMALISATION if cfg.get(key)}
    own = dict(teacher_mean=teacher_mean, teacher_std=teacher_std, teacher_bands=teacher_bands)
    described |= {key: value for key, value in own.items() if value is not None}
    # 127 and 127.0 are the same mean.
    return {
        key: [float(item) for item in value] if isinstance(value, list) else value
        for key, value in _plain(described).items()
    }


def describe_images(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Describe in JSON's types what of a pipeline makes the pixels."""
    return [_plain(cfg) | dict(type=type_name(cfg)) for cfg in pixel_transforms(pipeline)]


def pixel_transforms(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take from a pipeline what makes the pixels: all but the cache's loader and the packing."""
    transforms: list[dict[str, Any]] = []
    for cfg in pipeline:
        if type_name(cfg) == CACHED_LOADER:
            transforms += pixel_transforms(cfg['transforms'])
        elif type_name(cfg) not in _PACKERS:
            transforms.append(dict(cfg))
    return transforms


def type_name(cfg: dict[str, Any]) -> str:
    """The registered name in a config, also where that is a class or has a scope in front."""
    kind = cfg.get('type', '')
    return kind.split('.')[-1] if isinstance(kind, str) else kind.__name__


def _plain(value: Any) -> Any:
    """Turn a config into JSON's types, without what makes no difference."""
    if isinstance(value, dict):
        return {str(k): _plain(item) for k, item in value.items() if k not in _IMMATERIAL}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return getattr(value, '__name__', str(value))


def _difference(cached: Any, wanted: Any) -> str:
    """Say in a few words where two values part."""
    if isinstance(cached, dict) and isinstance(wanted, dict):
        keys = [key for key in {**cached, **wanted} if cached.get(key) != wanted.get(key)]
        return ', '.join(f'{key} {_difference(cached.get(key), wanted.get(key))}' for key in keys)
    return f'{_short(cached)} in the cache, {_short(wanted)} in the config'


def _short(value: Any) -> str:
    text = 'absent' if value is None else json.dumps(value)
    return text if len(text) <= 400 else f'{text[:400]}...'
