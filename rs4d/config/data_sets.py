"""What configs say of data sets: those inside of wrappers, and their classes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from rs4d.errors import ConfigError


def inner_datasets(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield the configs of the data sets that read files, inside of ``ConcatDataset`` and the like.

    Args:
        settings: The config of a data set, or a list of configs.
    """
    if isinstance(settings, Mapping):
        inner = settings.get('datasets') or settings.get('dataset')
        if inner is None:
            yield dict(settings)
            return
        settings = [inner] if isinstance(inner, Mapping) else inner
    for part in settings:
        yield from inner_datasets(part)


def dataset_classes(settings: Mapping[str, Any], scope: str = 'mmdet') -> tuple[str, ...]:
    """Find the classes of a data set, none if it has no labels, without building it.

    Args:
        settings: The config of a data set, without wrappers.
        scope: Where its type is looked up.

    Raises:
        ConfigError: The classes are a text that is no file of names.
    """
    classes = (settings.get('metainfo') or {}).get('classes')
    if classes is None:
        kind = settings['type']
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry(scope) as registry:
                kind = registry.get(kind)
        classes = getattr(kind, 'METAINFO', {}).get('classes', ())
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise ConfigError(
                f"metainfo has the text '{classes}' as classes, which would be a file with a name on "
                f"each line, and there is none. For one class write ('{classes}',), with a comma."
            )
        classes = list_from_file(classes)
    return tuple(classes)


def is_class_head(name: str) -> bool:
    """Whether a model's part classifies, by its dotted name; a cascade has a list of such heads."""
    last = [part for part in name.split('.') if not part.isdigit()][-1:]
    # Region proposals and semantic branches count something else.
    return bool(last) and last[0].endswith('head') and 'rpn' not in name and 'semantic' not in name
