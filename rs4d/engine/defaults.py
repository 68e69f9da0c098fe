"""The package's own parts in the place of MMEngine's plain ones."""

from collections.abc import Mapping, MutableMapping
from typing import Any

# From MMEngine's name to the part that does the same and stands interruptions.
_LOOPS = {'EpochBasedTrainLoop': 'ResumableTrainLoop'}
_WRAPPERS = {
    'OptimWrapper': 'SkippingOptimWrapper',
    'AmpOptimWrapper': 'SkippingAmpOptimWrapper',
}
_HOOKS = {'CheckpointHook': 'ResumableCheckpointHook'}
_STOP_AT_NON_FINITE = 'NonFiniteLossHook'


def use_resumable_parts(cfg: MutableMapping[str, Any]) -> None:
    """Let a training's config name the parts that can be stopped, resumed and trusted.

    Configs, those of other projects among them, name MMEngine's loop over epochs, optimizer wrapper
    and checkpoint hook. They are exchanged for this package's, which take the same arguments. Parts
    of any other type are left as they are; a loop over iterations is MMEngine's own.

    Args:
        cfg: A training's config, changed in place.
    """
    loop = cfg.get('train_cfg')
    if loop is not None:
        if loop.get('by_epoch') is True and 'type' not in loop:
            loop.pop('by_epoch')
            loop['type'] = 'EpochBasedTrainLoop'
        _exchange(loop, _LOOPS)
    wrapper = cfg.get('optim_wrapper')
    if wrapper is not None:
        wrapper.setdefault('type', 'OptimWrapper')
        _exchange(wrapper, _WRAPPERS)
        hooks = list(cfg.get('custom_hooks') or [])
        if str(wrapper['type']).startswith('Skipping') and not any(
            _name(hook) == _STOP_AT_NON_FINITE for hook in hooks
        ):
            cfg['custom_hooks'] = [*hooks, dict(type=_STOP_AT_NON_FINITE)]
    default_hooks = cfg.get('default_hooks')
    if default_hooks is None:
        default_hooks = cfg['default_hooks'] = {}
    if 'checkpoint' not in default_hooks:
        default_hooks['checkpoint'] = dict(type='CheckpointHook', interval=1)
    if default_hooks['checkpoint'] is not None:
        _exchange(default_hooks['checkpoint'], _HOOKS)
    for split in ('val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, MutableMapping):
            loader.setdefault('worker_init_fn', dict(type='start_worker'))


def _exchange(part: MutableMapping[str, Any], names: Mapping[str, str]) -> None:
    name = _name(part)
    if name is not None and name in names:
        part['type'] = names[name]


def _name(part: Any) -> str | None:
    """The type that a config names, with or without its scope."""
    kind = part.get('type') if isinstance(part, Mapping) else type(part)
    kind = kind if isinstance(kind, str) else getattr(kind, '__name__', None)
    return None if kind is None else kind.split('.')[-1]
