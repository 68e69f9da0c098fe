"""Configs of data sets inside of those that repeat, join and mix them."""

from collections.abc import Iterator, Mapping
from typing import Any


def inner_datasets(settings: Any) -> Iterator[dict[str, Any]]:
    """Look through wrappers such as ``RepeatDataset`` and ``ConcatDataset``.

    Args:
        settings: The config of a data set, or a list of configs.

    Yields:
        The configs of the data sets that read files.
    """
    if isinstance(settings, Mapping):
        inner = settings.get('datasets') or settings.get('dataset')
        if inner is None:
            yield dict(settings)
            return
        settings = [inner] if isinstance(inner, Mapping) else inner
    for part in settings:
        yield from inner_datasets(part)
