"""Whether a training can go on from what another one has saved."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from rs4d.errors import UserError, some

# By these an optimizer's state is that of Adam, of momentum, and so on. Names that PyTorch adds from
# version to version are not among them.
_KINDS = {'betas', 'momentum', 'alpha', 'rho', 'lambd', 'etas', 'lr_decay'}

# Settings of schedules that stand in their states beside how far they are.
_SCHEDULE = {
    *('T_max', 'begin', 'end', 'eta_min', 'eta_min_ratio', 'start_factor', 'end_factor', 'gamma'),
    *('milestones', 'factor', 'power', 'step_size', 'base_values'),
}

# What MMEngine takes out of a checkpoint without asking.
_NEEDED = (
    ('optimizer',),
    ('meta',),
    ('meta', 'epoch'),
    ('meta', 'iter'),
    ('message_hub',),
    ('message_hub', 'log_scalars'),
    ('message_hub', 'runtime_info'),
    ('message_hub', 'resumed_keys'),
)


class ResumeError(UserError, ValueError):
    """A training cannot go on from a checkpoint, which belongs to another one."""


def require_same_training(
    checkpoint: Mapping[str, Any], path: str, optim_wrapper: Any, schedulers: Any
) -> None:
    """Raise unless a training's optimizer and schedules can take the states of a checkpoint.

    Args:
        checkpoint: What was read.
        path: The file, for the message.
        optim_wrapper: The training's optimizer wrapper, built.
        schedulers: Its schedules, built: a list, or a dict of lists.

    Raises:
        ResumeError: They cannot.
    """
    absent = [
        '.'.join(keys)
        for keys in _NEEDED
        if functools.reduce(_inside, keys, checkpoint) is None
        and functools.reduce(_inside, keys[:-1], checkpoint) is not None
    ]
    if absent:
        _refuse(path, f'holds no state of a training (it lacks {some(absent)})')
    if _groups(checkpoint['optimizer']) != _groups(optim_wrapper.state_dict()):
        _refuse(path, 'was written by a training with another optimizer or other groups of weights')
    saved: Any = checkpoint.get('param_schedulers')
    lists = isinstance(saved, list) and isinstance(schedulers, list)
    if lists and [*map(_keys, saved)] != [_keys(own.state_dict()) for own in schedulers]:
        _refuse(path, 'was written by a training with other schedules (param_scheduler)')


def kept_schedules(checkpoint: Mapping[str, Any], schedulers: Any) -> list[str]:
    """Say what of a training's schedules a checkpoint's states replace, as MMEngine loads them.

    Args:
        checkpoint: What was read, of a training with the same kinds of schedules.
        schedulers: The training's schedules, built.

    Returns:
        One phrase for each setting that differs, such as ``'T_max 100 instead of 200'``.
    """
    saved = checkpoint.get('param_schedulers')
    if not isinstance(saved, list) or not isinstance(schedulers, list):
        return []
    found: dict[str, None] = {}
    for theirs, scheduler in zip(saved, schedulers, strict=False):
        ours = scheduler.state_dict()
        for name in _SCHEDULE & theirs.keys() & ours.keys():
            if theirs[name] != ours[name]:
                label = 'the rate' if name == 'base_values' else name
                found[f'{label} {_plain(theirs[name])} instead of {_plain(ours[name])}'] = None
    return sorted(found)


def _plain(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _inside(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _groups(state: Mapping[str, Any]) -> list[tuple[set[str], int]]:
    groups = state.get('param_groups') or []
    return [(_KINDS & group.keys(), len(group['params'])) for group in groups]


def _keys(state: Mapping[str, Any]) -> Sequence[str]:
    return sorted(key for key in state if not key.startswith('_'))


def _refuse(path: str, problem: str) -> None:
    raise ResumeError(
        f"The checkpoint '{path}', named by --resume, {problem}, so the training cannot go on from it. "
        'Resume with the config that it was trained with, or start anew from its weights: without '
        f'--resume and with --cfg-options load_from={path}.'
    )
