"""Which pipelines a cache can stand for: those that give the same pixels every time."""

import re
from collections.abc import Sequence
from typing import Any

from .errors import TeacherCacheError

CACHED_LOADER = 'LoadTeacherEmbedding'
_PACKERS = ('PackDetInputs', 'PackDistillInputs')
# Parts of the names of transforms, MMDetection's and others', that draw random numbers.
_CHANCE = re.compile('Random|Albu|Aug|Color|CopyPaste|CutOut|Geometric|HSV|Mix|Mosaic|PhotoMetric')
# What a transform does to the pixels does not depend on these.
_IMMATERIAL = ('backend_args', 'file_client_args')


def pixel_transforms(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take from a pipeline what makes the pixels: all but the cache's loader and the packing."""
    transforms: list[dict[str, Any]] = []
    for cfg in pipeline:
        if type_name(cfg) == CACHED_LOADER:
            transforms += pixel_transforms(cfg['transforms'])
        elif type_name(cfg) not in _PACKERS:
            transforms.append(dict(cfg))
    return transforms


def require_no_chance(transforms: Sequence[dict[str, Any]]) -> None:
    """Refuse transforms that draw random numbers, as far as their names tell."""
    found = [name for name in map(type_name, transforms) if _CHANCE.search(name)]
    if found:
        raise TeacherCacheError(
            f'The pipeline has {", ".join(found)}, which changes an image at random, so that an '
            'embedding made once would be of other pixels than the student sees. Leave random '
            'transforms out of the pipeline; noise and masks on the student come from the '
            "distiller's corruption and do no harm."
        )


def describe_images(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Describe what makes the pixels, so that two pipelines can be compared.

    Args:
        pipeline: Configs of transforms.

    Returns:
        Dicts of JSON's types.
    """
    described = []
    for cfg in pixel_transforms(pipeline):
        kept = {key: value for key, value in cfg.items() if key not in _IMMATERIAL}
        described.append(plain(kept) | dict(type=type_name(cfg)))
    return described


def type_name(cfg: dict[str, Any]) -> str:
    """The registered name in a config, also where that is a class or has a scope in front."""
    kind = cfg.get('type', '')
    return kind.split('.')[-1] if isinstance(kind, str) else kind.__name__


def plain(value: Any) -> Any:
    """Turn a config into JSON's types: dicts, lists, strings, numbers, booleans and None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return getattr(value, '__name__', str(value))
