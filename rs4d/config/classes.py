"""The classes of a config's data sets: named by it, by their type, or by an annotation file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from rs4d.errors import ConfigError

from .data_sets import SPLITS, inner_datasets


def dataset_classes(settings: Mapping[str, Any], scope: str = 'mmdet') -> tuple[str, ...]:
    """Find the classes of a data set without building it.

    Args:
        settings: The config of a data set, without wrappers.
        scope: Where its type is looked up.

    Returns:
        The names, those of the annotation file where neither config nor type has any; none if the
        set has no labels, or the config no file yet.

    Raises:
        ConfigError: The classes are a text that is no file of names.
        UserError: The annotation file cannot be read.
    """
    return _named_classes(settings, scope) or _file_classes(settings, scope)


def classes_of_file(settings: Mapping[str, Any], scope: str = 'mmdet') -> tuple[str, ...]:
    """Find the classes that the annotation file of a data set has, whichever of them are in use.

    Returns:
        The names; none if the set has no file, or its type does not read one by itself.

    Raises:
        UserError: The annotation file cannot be read.
    """
    return _file_classes(settings, scope)


def takes_from_file(settings: Mapping[str, Any], scope: str = 'mmdet') -> bool:
    """Whether a data set's classes are left to its annotation file, by its config and its type."""
    return hasattr(_kind(settings, scope), 'classes_in_file') and not _named_classes(
        settings, scope
    )


def settle_classes(config: Any, trained: Sequence[str] = ()) -> None:
    """Give all data sets that take their classes from annotation files the same ones, in one order.

    The first data set's classes are written into the config, so that the heads' labels mean the same
    in training, validation and test, and what is saved of the config says what they mean.

    Args:
        config: The dict of a config without references; changed in place.
        trained: The classes of a model that is there already, which then are those of the data sets.

    Raises:
        ConfigError: Two files have other classes; only their order and ids are free.
        UserError: The annotation file cannot be read.
    """
    scope = dict.get(config, 'default_scope', 'mmdet')
    waiting = [item for item in _all_datasets(config) if takes_from_file(item, scope)]
    if not waiting:
        return
    classes, source = tuple(trained), None
    for settings in () if trained else _all_datasets(config):
        if classes := dataset_classes(settings, scope):
            source = settings if takes_from_file(settings, scope) else None
            break
    for settings in waiting if classes else ():
        if source is not None and settings is not source:
            _require_same(settings, scope, classes, str(source['ann_file']))
        settings['metainfo'] = dict(settings.get('metainfo') or {}, classes=classes)


def _all_datasets(config: Any) -> Iterator[dict[str, Any]]:
    """The data sets of the loaders, without wrappers, those of the training first."""
    for split in SPLITS:
        loader = dict.get(config, f'{split}_dataloader')
        if isinstance(loader, dict) and loader.get('dataset'):
            yield from inner_datasets(loader['dataset'])


def _require_same(
    settings: Mapping[str, Any], scope: str, classes: Sequence[str], source: str
) -> None:
    try:
        own = _file_classes(settings, scope)
    except FileNotFoundError:
        return  # building the data set says so, with all else that is wrong
    if own and set(own) != set(classes):
        only = [name for name in own if name not in classes]
        lacking = [name for name in classes if name not in own]
        parts = [f'has {", ".join(only)} beyond them'] * bool(only)
        parts += [f'lacks {", ".join(lacking)}'] * bool(lacking)
        raise ConfigError(
            f"The annotation files have different classes: '{source}' has {', '.join(classes)}, and "
            f"'{settings['ann_file']}' {' and '.join(parts)}. Give both the same categories, or name "
            'those to use that both have, by --classes or metainfo=dict(classes=(...)).'
        )


def _kind(settings: Mapping[str, Any], scope: str) -> Any:
    kind = settings['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    return kind


def _named_classes(settings: Mapping[str, Any], scope: str) -> tuple[str, ...]:
    """The classes by config or type; none where they are left to a file, or there are no labels."""
    classes = (settings.get('metainfo') or {}).get('classes')
    if classes is None:
        classes = getattr(_kind(settings, scope), 'METAINFO', {}).get('classes', ())
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise ConfigError(
                f"metainfo has the text '{classes}' as classes, which would be a file with a name on "
                f"each line, and there is none. For one class write ('{classes}',), with a comma."
            )
        classes = list_from_file(classes)
    return tuple(classes)


def _file_classes(settings: Mapping[str, Any], scope: str) -> tuple[str, ...]:
    read = getattr(_kind(settings, scope), 'classes_in_file', None)
    return tuple(read(settings)) if read is not None and settings.get('ann_file') else ()
