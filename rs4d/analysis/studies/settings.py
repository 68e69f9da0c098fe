"""Settings of a run: dotted or nested, put together, and written as a config."""

import os
import pprint
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .study_file import StudyError

# <distilled>, the folder of the run of that step; <run> is the run's own, <study> that of all.
_PLACE = re.compile(r'<([^<>]+)>')


def nested(settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested dicts; later ones stand above earlier ones.

    Raises:
        StudyError: A key leads into a list, which a config cannot change in part.
    """
    result: dict[str, Any] = {}
    for key, value in settings.items():
        keys = str(key).split('.')
        if any(part.isdigit() for part in keys):
            raise StudyError(
                f'The setting {key} leads into a list, of which a config changes no part. Set the '
                'whole list.'
            )
        inner: Any = nested(value) if isinstance(value, Mapping) else value
        for part in reversed(keys):
            inner = {part: inner}
        result = merged(result, inner)
    return result


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings above others, as MMEngine does: dicts join unless ``_delete_`` is in the upper."""
    result = dict(below)
    for key, value in above.items():
        lower = result.get(key)
        joins = isinstance(value, Mapping) and isinstance(lower, Mapping)
        result[key] = (
            merged(lower, value)
            if joins and isinstance(lower, Mapping) and not value.get('_delete_')
            else value
        )
    return result


def scaled(settings: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Multiply whole numbers by ``scale``, each to 1 at least.

    Raises:
        StudyError: A setting is no whole number.
    """
    result: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            result[key] = scaled(value, scale)
        elif isinstance(value, int) and not isinstance(value, bool):
            result[key] = scaled_number(value, scale)
        else:
            raise StudyError(f'scaled: {key} is {value!r}; only whole numbers can be scaled.')
    return result


def scaled_number(value: int, scale: float) -> int:
    """A whole number times ``scale``, 1 at least."""
    return max(1, round(value * scale))


def places(value: Any) -> Iterator[str]:
    """The names in ``<...>`` in all texts of a setting."""
    if isinstance(value, str):
        yield from _PLACE.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from places(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from places(inner)


def filled(value: Any, folder_of: Callable[[str], Path]) -> Any:
    """Put folders in the places of the names in ``<...>``."""
    if isinstance(value, str):
        return _PLACE.sub(lambda found: folder_of(found[1]).as_posix(), value)
    if isinstance(value, Mapping):
        return {key: filled(inner, folder_of) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, folder_of) for inner in value]
    return value


def config_text(config: str, settings: Mapping[str, Any], folder: Path) -> str:
    """Write a config that inherits another one.

    Args:
        config: The other one, a path or ``rs4d::...``.
        settings: Nested.
        folder: Where the text will be.
    """
    base = config if '::' in config else Path(os.path.relpath(config, folder)).as_posix()
    lines = [
        f'{key} = {pprint.pformat(value, width=90, sort_dicts=False)}'
        for key, value in settings.items()
    ]
    return '\n'.join([f'_base_ = {base!r}', *lines]) + '\n'
