"""Settings that nothing reads: misspelt options, keys of a config and arguments of its parts."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmengine import registry as registries
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rs4d.config.packages import base_settings
from rs4d.errors import ConfigError

# Read by MMEngine, MMDetection's tools or this package, beside the runner's own arguments.
_SETTINGS = (
    *('auto_scale_lr', 'compile', 'dtype', 'find_unused_parameters', 'runner_type', 'tta_model'),
    *('sync_bn', 'model_wrapper_cfg', 'activation_checkpointing', 'efficient_conv_bn_eval'),
)
_RUNNER = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}
KNOWN = frozenset({*_RUNNER, *_SETTINGS, 'custom_imports', 'env_cfg'})
"""The settings that something reads."""
_LOADER = frozenset(inspect.signature(DataLoader.__init__).parameters) - {'self'}
# What may stand in dicts that are no parts: in all of them, it is wrong to be nearly one of these.
_NAMES_AT: tuple[tuple[str, Iterable[str]], ...] = (
    (r'(train|val|test)_dataloader', {*_LOADER, 'num_batch_per_epoch'}),
    (r'randomness', {*inspect.signature(Runner.set_randomness).parameters} - {'self'}),
    (
        r'default_hooks',
        {
            *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'),
            'visualization',
        },
    ),
    (r'env_cfg', {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
    (r'auto_scale_lr', {'enable', 'base_batch_size'}),
    (r'optim_wrapper\.clip_grad', {'type', 'max_norm', 'clip_value', 'norm_type'}),
    (
        r'optim_wrapper\.paramwise_cfg',
        {
            *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult'),
            *('flat_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'),
        },
    ),
)
# Of these, nothing else may.
_CLOSED = re.compile(r'(train|val|test)_dataloader|randomness')
# Keys of these are names of other things, such as weights, which may be as near as they like.
_FREE = re.compile(r'.*(custom_keys|metainfo|data_prefix)')
# What those who build parts take away before they call a part: of all parts, and of those at a place.
_TAKEN = frozenset({'type', '_scope_', '_delete_', 'requires_grad', 'init_cfg'})
_TAKEN_AT = (
    (r'optim_wrapper(\.\w+)?', {'constructor', 'paramwise_cfg', 'optimizer'}),
    (r'(train|val|test)_cfg', {'by_epoch'}),
    (r'param_scheduler.*', {'convert_to_iter_based'}),
    (r'.*(init_cfg|override)(\.\d+)?', {'name', 'override'}),
    (r'(custom|default)_hooks\.\w+', {'priority'}),
    (r'.*\.upsample_cfg', {'scale_factor'}),
    (r'.*\.dcn', {'fallback_on_stride', 'deformable_groups'}),
)


def check_options(cfg: Config, options: Iterable[str]) -> None:
    """Raise if a dotted option sets what nothing reads in a config, before it is applied to it.

    Raises:
        ConfigError: Some do; all of them are named, with the nearest name that is read.
    """
    _raise(problem for key in options if (problem := _option_problem(cfg._cfg_dict, key)))


def check_settings(cfg: Config) -> None:
    """Raise if a config has a setting that nothing reads, or a part an argument that it does not take.

    A setting is read if the runner or a tool knows it, or the files of the config use its name; else
    it is wrong where it is nearly one of these.

    Raises:
        ConfigError: It has; all of them are named, with the nearest name that is read.
    """
    scope = cfg.get('default_scope', 'mmdet')
    _raise([*_unread_settings(cfg), *_unknown_arguments(cfg._cfg_dict, '', scope)])


def _raise(problems: Iterable[str]) -> None:
    found = list(dict.fromkeys(problems))
    if found:
        raise ConfigError(' '.join(found))


def _option_problem(root: Any, path: str) -> str | None:
    node, done = root, ''
    keys = path.split('.')
    for number, key in enumerate(keys):
        child = _child(node, key)
        if child is None or number == len(keys) - 1 or not isinstance(child, dict | list):
            break
        node, done = child, f'{done}.{key}' if done else key
    if isinstance(node, list) and key.isdigit() and int(key) >= len(node):
        return f"The option {path}: {done} has {len(node)} items, counted from 0; '{key}' is none."
    if not isinstance(node, dict) or key in dict.keys(node):
        return None
    known = _arguments_at(node, done, root.get('default_scope', 'mmdet'))
    if known is None:
        # No part: its own keys, and where they are known those that it may have.
        present = frozenset(map(str, dict.keys(node)))
        known = present | (_names_at(done) if done else KNOWN)
        if done and not _CLOSED.fullmatch(done) and not _nearest(key, known):
            return None
    if key in known:
        return None
    place = done or 'the config'
    return f"The option {path}: {place} has no '{key}', and nothing reads it.{_hint(key, known)}"


def _child(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        return dict.get(node, key)
    listed = isinstance(node, list) and key.isdigit() and int(key) < len(node)
    return node[int(key)] if listed else None


def _unread_settings(cfg: Config) -> Iterator[str]:
    # The text of a config that imports its base does not hold the base's, which may use a name. In
    # one that was dumped nothing uses any, as its references have values.
    keys = [] if Config._is_lazy_import(cfg.filename) else list(dict.keys(cfg._cfg_dict))
    used = {key for key in keys if re.search(rf'\b{re.escape(key)}\b(?!\s*=[^=])', cfg.text or '')}
    for key in dict.keys(cfg._cfg_dict):
        near = _nearest(key, (KNOWN | used) - {key}, cutoff=0.8)
        if near and key not in KNOWN | used | {'tta_pipeline'} | base_settings():
            yield f"The config has '{key}', which nothing reads. Did you mean '{near}'?"


def _unknown_arguments(node: Any, where: str, scope: str) -> Iterator[str]:
    if isinstance(node, dict):
        taken = _arguments_at(node, where, scope)
        if taken is None and where and not _FREE.fullmatch(where):
            yield from _unread_keys(node, where)
        for key in dict.keys(node):
            if taken is not None and key not in taken:
                name = getattr(node['type'], '__name__', node['type'])
                yield (
                    f"The config's {where} gives {name} the argument '{key}', which it does not "
                    f'take.{_hint(key, taken)}'
                )
            yield from _unknown_arguments(
                dict.__getitem__(node, key), f'{where}.{key}' if where else str(key), scope
            )
    elif isinstance(node, list | tuple):
        for number, item in enumerate(node):
            yield from _unknown_arguments(item, f'{where}.{number}', scope)


def _unread_keys(node: dict[str, Any], where: str) -> Iterator[str]:
    """Find what is nearly one of the names that may stand there, or of those that a base has set."""
    known = _names_at(where)
    closed = _CLOSED.fullmatch(where) and 'type' not in dict.keys(node)
    earlier: list[str] = []
    for key in map(str, dict.keys(node)):
        if key not in known:
            near = _nearest(key, known, cutoff=0.8)
            # A config's own keys come after those of its base.
            near = near or next((name for name in earlier if _is_slip(key, name)), None)
            if near or closed:
                hint = f" Did you mean '{near}'?" if near else _hint(key, known)
                yield f"The config's {where} has '{key}', which nothing reads.{hint}"
        earlier.append(key)


def _names_at(where: str) -> frozenset[str]:
    return frozenset().union(*(names for at, names in _NAMES_AT if re.fullmatch(at, where)))


def _is_slip(name: str, other: str) -> bool:
    """Whether two names differ by underscores and one letter that is left out or doubled."""
    short, long = sorted((name.replace('_', ''), other.replace('_', '')), key=len)
    if len(short) < 3 or short == long:
        return short == long
    one_less = (long[:i] + long[i + 1 :] for i, letter in enumerate(long) if letter.isalpha())
    return short in one_less


def _arguments_at(node: dict[str, Any], where: str, scope: str) -> frozenset[str] | None:
    """The arguments of a config's part; None if it is no part, or one that takes any."""
    kind = dict.get(node, 'type')
    found = [kind] if callable(kind) else _named(kind, scope) if isinstance(kind, str) else []
    all_arguments = [_arguments(part) for part in found]
    if not found or None in all_arguments:
        return None
    extra = [names for pattern, names in _TAKEN_AT if re.fullmatch(pattern, where)]
    return frozenset(_TAKEN).union(*filter(None, all_arguments), *extra)


@functools.cache
def _named(name: str, scope: str) -> tuple[Callable[..., Any], ...]:
    """What is registered under a name; a few names, such as RandomSampler, are so several times."""
    roots = [found for found in vars(registries).values() if isinstance(found, Registry)]
    # Some registries, such as that of strategies, have no child in MMDetection.
    parts = [root.children.get(scope, root).get(name) for root in roots]
    return tuple(part for part in dict.fromkeys(parts) if callable(part))


@functools.cache
def _arguments(part: Callable[..., Any]) -> frozenset[str] | None:
    """The names of a part's arguments, through ``**kwargs`` to its bases; None if it takes any."""
    names: set[str] = set()
    closed = False
    for owner in part.__mro__ if isinstance(part, type) else (part,):
        function = vars(owner).get('__init__') if isinstance(owner, type) else owner
        if function is None:
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        first = not names
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            closed = True
            if first:
                break
        # With several bases, a part may call any of them with what is left.
    return frozenset(names - {'self'}) if closed else None


def _nearest(name: str, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return close[0] if close else None


def _hint(name: str, known: Iterable[str]) -> str:
    near = _nearest(name, known, cutoff=0.5)
    if near:
        return f" Did you mean '{near}'?"
    names = sorted(set(known) - _TAKEN)
    return f' It takes {", ".join(names)}.' if len(names) < 20 else ' Look up the name.'
