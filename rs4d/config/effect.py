"""Options that would change nothing, as nothing that runs refers to what they set."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from rs4d.errors import ConfigError

from .packages import base_settings
from .unread import KNOWN

_REFERENCE = re.compile(r'\$\{([^{}.]*)[^{}]*\}')


class OptionWithoutEffectError(ConfigError):
    """Nothing that runs refers to what an option sets."""


def require_effect(cfg: Config, options: Mapping[str, Any]) -> None:
    """Raise if options set what a part of the package's configs has by reference, and this one has not.

    A config that a training wrote has values in the places of its references, so that another
    ``image_size`` or ``data_root`` would stand in it and change nothing.

    Args:
        cfg: The config with the options in it, its references not resolved.
        options: From dotted keys to values; what is set to an empty text is not looked at.

    Raises:
        OptionWithoutEffectError: Some change nothing.
    """
    names = dict.fromkeys(key.split('.')[0] for key, value in options.items() if value != '')
    idle = [name for name in names if name in base_settings() - KNOWN]
    if idle and (idle := [name for name in idle if name not in _in_use(cfg._cfg_dict)]):
        which = f"'{cfg.filename}'" if cfg.filename else 'of the checkpoint'
        raise OptionWithoutEffectError(
            f'Nothing that runs in the config {which} refers to {", ".join(idle)}, so that '
            'setting it changes nothing. If a training wrote the config, with values in all places, '
            'give the one that the training was started with; else set what stands in it instead, '
            'such as test_dataloader.dataset.ann_file.'
        )


def _in_use(root: Any) -> set[str]:
    """The settings that are read, or that those refer to."""
    found = {key for key in dict.keys(root) if key not in base_settings() - KNOWN}
    todo = list(found)
    while todo:
        names = {name for name in _references(dict.get(root, todo.pop())) if name not in found}
        found |= names
        todo += names
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield from _REFERENCE.findall(node)
    elif isinstance(node, dict):
        for key in dict.keys(node):
            yield from _references(dict.__getitem__(node, key))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _references(item)
