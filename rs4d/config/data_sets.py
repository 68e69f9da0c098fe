"""What configs say of data sets: those inside of wrappers, and their classes."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS


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
    """
    classes = (settings.get('metainfo') or {}).get('classes')
    if classes is None:
        kind = settings['type']
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry(scope) as registry:
                kind = registry.get(kind)
        classes = getattr(kind, 'METAINFO', {}).get('classes', ())
    return tuple(list_from_file(classes) if isinstance(classes, str) else classes)


def is_class_head(name: str) -> bool:
    """Whether a model's part classifies, by its dotted name; a cascade has a list of such heads."""
    last = [part for part in name.split('.') if not part.isdigit()][-1:]
    # Region proposals and semantic branches count something else.
    return bool(last) and last[0].endswith('head') and 'rpn' not in name and 'semantic' not in name
