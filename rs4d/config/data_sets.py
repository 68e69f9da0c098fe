"""What configs say of data sets: those inside of wrappers, and which parts of a model count classes."""

from collections.abc import Iterator, Mapping
from typing import Any

SPLITS = ('train', 'val', 'test')


def inner_datasets(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield the configs of the data sets that read files, inside of ``ConcatDataset`` and the like.

    Args:
        settings: The config of a data set, or a list of configs.
    """
    if isinstance(settings, Mapping):
        inner = settings.get('datasets') or settings.get('dataset')
        if inner is None:
            assert isinstance(settings, dict)
            yield settings
            return
        settings = [inner] if isinstance(inner, Mapping) else inner
    for part in settings:
        yield from inner_datasets(part)


def is_class_head(name: str) -> bool:
    """Whether a model's part classifies, by its dotted name; a cascade has a list of such heads."""
    last = [part for part in name.split('.') if not part.isdigit()][-1:]
    # Region proposals and semantic branches count something else.
    return bool(last) and last[0].endswith('head') and 'rpn' not in name and 'semantic' not in name
