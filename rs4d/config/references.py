"""References between a config's settings, followed when the config is complete.

A value ``'${image_size}'`` stands for the config's ``image_size``, ``'${model.backbone.patch_size}'``
for that of the backbone and ``'${param_scheduler.1.end}'`` for an item of a list. Within a longer
text the value is put in: ``'${data_root}annotations/val.json'``. Since files and options have been
merged before, a config that changes ``image_size`` changes everything that refers to it.

Two settings have a meaning of their own. ``image_size`` is width and height, and one number means a
square. ``num_classes = None`` means as many as the training's data set has classes; where these are
those of an annotation file, they are written into the config.
"""

import copy
import difflib
import inspect
import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from rs4d.errors import ConfigError

from .classes import dataset_classes, settle_classes, takes_from_file
from .data_sets import SPLITS, inner_datasets

_REFERENCE = re.compile(r'\$\{([^{}]*)\}')


def resolve(cfg: Config | MutableMapping[str, Any], classes: Sequence[str] = ()) -> None:
    """Put values in the places of a config's references.

    Args:
        cfg: The config, with all options applied; changed in place. One without references stays as
            it is.
        classes: Those of a model that is trained already, for data sets that would take theirs from
            an annotation file.

    Raises:
        ConfigError: A reference in what the runner reads names what the config does not have, or
            itself in the end; ``image_size`` is no size, ``num_classes`` is None and the data set
            names no classes, or annotation files have different ones.
        UserError: The annotation file that the classes are taken from cannot be read.
    """
    root: Any = cfg._cfg_dict if isinstance(cfg, Config) else cfg
    if root.get('image_size') is not None:
        root['image_size'] = _size(_fill(root['image_size'], root, 'image_size'))
    if 'num_classes' in root and root['num_classes'] is None:
        root['num_classes'] = _count_classes(root, classes)
    for key in list(dict.keys(root)):
        try:
            dict.__setitem__(root, key, _fill(dict.__getitem__(root, key), root, key))
        except ConfigError:
            # A setting that nothing runs, such as the neck of an encoder that a config replaces.
            if key in inspect.signature(Runner.__init__).parameters:
                raise
    settle_classes(root, classes)


def follow(root: Any, path: str) -> Any:
    """Find what stands at a dotted path of a config's dict, through references on the way.

    Returns:
        The value as it stands there, its own references not resolved.

    Raises:
        ConfigError: There is nothing.
    """
    return _find(root, path, f'the path {path}', ())


def expand(root: Any, path: str) -> None:
    """Make a dotted path of a config's dict a place of its own, where it leads through references.

    ``train_dataloader.dataset.pipeline.0.type`` may be set although the pipeline is
    ``'${train_pipeline}'``: the loader gets a copy of it.
    """
    node = root
    for key in path.split('.')[:-1]:
        child = _child(node, key)
        while isinstance(child, str) and (match := _REFERENCE.fullmatch(child)):
            child = copy.deepcopy(follow(root, match[1]))
            if isinstance(node, list):
                node[int(key)] = child
            else:
                # MMEngine's own way would store a copy, which what follows here does not reach.
                dict.__setitem__(node, key, child)
        node = child


def _fill(node: Any, root: Any, where: str, active: tuple[str, ...] = ()) -> Any:
    """Replace references in a value, dicts and lists in place, and return it.

    ``dict``'s own methods leave alone what MMEngine would import on a look.
    """
    if isinstance(node, str):
        return _replace(node, root, where, active)
    if isinstance(node, dict):
        for key in list(dict.keys(node)):
            value = dict.__getitem__(node, key)
            filled = _fill(value, root, f'{where}.{key}' if where else str(key), active)
            if filled is not value:
                dict.__setitem__(node, key, filled)
    elif isinstance(node, list):
        node[:] = [_fill(value, root, f'{where}.{i}', active) for i, value in enumerate(node)]
    elif type(node) is tuple:
        return tuple(_fill(value, root, f'{where}.{i}', active) for i, value in enumerate(node))
    return node


def _replace(text: str, root: Any, where: str, active: tuple[str, ...]) -> Any:
    whole = _REFERENCE.fullmatch(text)
    if whole:
        return _value(whole[1], root, where, active)

    def written(match: re.Match[str]) -> str:
        value = _value(match[1], root, where, active)
        if not isinstance(value, str | int | float):
            raise ConfigError(
                f"The config's {where} puts {match[0]} into a text, but that is {value!r}. Refer to "
                'a text or a number, or let the reference be the whole value.'
            )
        return str(value)

    return _REFERENCE.sub(written, text)


def _value(path: str, root: Any, where: str, active: tuple[str, ...]) -> Any:
    if path in active:
        circle = ' -> '.join([*active[active.index(path) :], path])
        raise ConfigError(
            f"The config's {where} refers to itself: {circle}. Give one of them a value."
        )
    active = (*active, path)
    return _fill(copy.deepcopy(_find(root, path, where, active)), root, path, active)


def _find(root: Any, path: str, where: str, active: tuple[str, ...]) -> Any:
    node, done = root, ''
    for key in path.split('.'):
        if isinstance(node, str):
            node = _replace(node, root, done, active)
        try:
            node = _child(node, key)
        except (KeyError, IndexError):
            raise ConfigError(
                f"The config's {where} refers to '{path}', but {done or 'the config'} has no "
                f"'{key}'.{_nearest(key, node)}"
            ) from None
        done = f'{done}.{key}' if done else key
    return node


def _child(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        return dict.__getitem__(node, key)
    if isinstance(node, list | tuple) and key.isdigit():
        return node[int(key)]
    raise KeyError(key)


def _nearest(key: str, node: Any) -> str:
    if isinstance(node, list | tuple):
        return f' It has {len(node)} items, counted from 0.'
    names = [str(name) for name in dict.keys(node)] if isinstance(node, dict) else []
    close = difflib.get_close_matches(key, names, n=1)
    return f" Did you mean '{close[0]}'?" if close else ' Set it, or correct the reference.'


def _size(value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(pair, list | tuple)
        or len(pair) != 2
        or not all(isinstance(side, int) and side > 0 for side in pair)
    ):
        raise ConfigError(
            f"The config's image_size is {value!r}; it has to be a number of pixels, or width and "
            'height such as (384, 320).'
        )
    return pair[0], pair[1]


def _count_classes(root: Any, trained: Sequence[str]) -> int:
    scope = root.get('default_scope', 'mmdet')
    kinds, from_file = [], False
    for split in SPLITS:
        if not dict.get(root, f'{split}_dataloader'):
            continue
        where = f'{split}_dataloader.dataset'
        for settings in inner_datasets(_fill(copy.deepcopy(follow(root, where)), root, where)):
            kinds.append(str(settings['type']))
            left_to_file = takes_from_file(settings, scope)
            from_file |= left_to_file
            found = trained if trained and left_to_file else dataset_classes(settings, scope)
            if found:
                return len(found)
    if from_file:
        return 1  # no file is named yet: a model that can be looked at, and that no data set fits
    raise ConfigError(
        'num_classes is None, which stands for as many as the data set has classes, and '
        f'{" and ".join(dict.fromkeys(kinds)) or "the config"} names none. Set num_classes, or '
        "metainfo=dict(classes=('ship', 'plane')) of the data sets."
    )
