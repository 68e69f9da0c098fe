"""Checks that a checkpoint is there, readable and made for the model, before it is needed.

MMEngine loads what fits and writes the rest into the log. A stage-2 training whose encoder was not
loaded then runs to its end and looks like a bad model, so here it is an error.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.checkpoints import (
    CheckpointMismatchError,
    check_header,
    read_checkpoint,
    read_header,
    state_dict_of,
)
from rs4d.errors import SetupError

# The last layers of a head, whose size is the number of classes.
_CLASS_LAYERS = ('fc_cls', 'fc_reg', 'conv_logits', 'conv_cls')


def is_local(path: str) -> bool:
    """Whether a checkpoint's name is that of a file here, rather than ``https://`` and the like."""
    return re.match(r'[a-z][a-z0-9+-]+://', path, re.IGNORECASE) is None


def require_checkpoint(path: str, source: str) -> None:
    """Raise unless a checkpoint's file is there.

    Args:
        path: The file; names with a scheme such as ``https://`` pass.
        source: The config's key or the tool's argument that names it.

    Raises:
        SetupError: There is no such file.
    """
    if is_local(path) and not Path(path).expanduser().is_file():
        raise SetupError(
            f"The checkpoint '{path}', named by {source}, does not exist (working directory "
            f"'{Path.cwd()}'). Train or download it first, correct the path, or, to start from "
            f'random weights, set what names it to None.'
        )


def read_state_dict(path: str, source: str) -> dict[str, Tensor]:
    """Read the weights in a checkpoint, and nothing that could run code.

    Args:
        path: The file.
        source: The config's key or the tool's argument that names it.

    Returns:
        From names to tensors on the CPU.

    Raises:
        SetupError: The file is missing, is not a checkpoint, or holds more than data.
    """
    require_checkpoint(path, source)
    try:
        return state_dict_of(read_checkpoint(path), path)
    except CheckpointMismatchError as error:
        raise SetupError(f'{error} It is named by {source}.') from error


def check_checkpoint(
    model: nn.Module, path: str, source: str, *, complete: bool, other_classes: bool = False
) -> None:
    """Raise unless a checkpoint was made for a model of this shape.

    The model's weights are overwritten where they fit.

    Args:
        model: The model that the checkpoint will be loaded into.
        path: The checkpoint; a name with a scheme such as ``https://`` is not looked at.
        source: The config's key or the tool's argument that names it.
        complete: Whether every weight of the model must be in it.
        other_classes: Whether the last layers of heads may have another number of classes; they
            then keep their random weights.

    Raises:
        SetupError: It is missing, unreadable, of another size, or of another model.
    """
    if not is_local(path):
        return
    _compare(model, read_state_dict(path, source), path, source, complete, other_classes)


def check_pretrained(model: nn.Module) -> None:
    """Check every ``init_cfg=dict(type='Pretrained', ...)`` in a model.

    Modules of other packages with an ``init_weights`` of their own may rename what they read; of
    theirs only the file's existence is checked.

    Args:
        model: The model, built; weights are overwritten where they fit.

    Raises:
        SetupError: A checkpoint is missing, unreadable, of another size, or lacks weights.
    """
    for name, module, init in _pretrained_modules(model, 'model'):
        path, prefix = init['checkpoint'], init.get('prefix')
        source = f'{name}.init_cfg'
        require_checkpoint(path, source)
        if not is_local(path) or _loads_by_itself(module):
            continue
        # An encoder's own file has bare names, whatever the prefix.
        if _has_header(module, path, source) or prefix is None:
            check_checkpoint(module, path, source, complete=True)
            continue
        prefix = prefix if prefix.endswith('.') else f'{prefix}.'
        state_dict = read_state_dict(path, source)
        chosen = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
        if not chosen:
            found = sorted({name.split('.')[0] for name in state_dict})
            raise SetupError(
                f"The checkpoint '{path}', named by {source}, has no weights that start with "
                f"prefix='{prefix}'; its names start with {', '.join(found[:8])}. Set "
                f'{source}.prefix to the one that holds the encoder, or leave it out if the file '
                'holds nothing else.'
            )
        _compare(module, chosen, path, source, complete=True, other_classes=False)


def _pretrained_modules(
    module: nn.Module, name: str
) -> Iterator[tuple[str, nn.Module, dict[str, Any]]]:
    settings = getattr(module, 'init_cfg', None)
    for init in settings if isinstance(settings, list) else [settings]:
        if isinstance(init, Mapping) and init.get('type') == 'Pretrained':
            yield name, module, dict(init)
            # MMEngine leaves the children of a pretrained module alone.
            return
    for child_name, child in module.named_children():
        yield from _pretrained_modules(child, f'{name}.{child_name}')


def _has_header(module: nn.Module, path: str, source: str) -> bool:
    try:
        header = read_header(path)
        if header is not None:
            check_header(module, header, path)
    except CheckpointMismatchError as error:
        raise SetupError(f'{error} It is named by {source}.') from error
    return header is not None


def _loads_by_itself(module: nn.Module) -> bool:
    own = getattr(type(module), 'init_weights', None) is not BaseModule.init_weights
    return own and not type(module).__module__.startswith('rs4d.')


def _compare(
    model: nn.Module,
    state_dict: dict[str, Tensor],
    path: str,
    source: str,
    complete: bool,
    other_classes: bool,
) -> None:
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tensors = {name: value for name, value in state_dict.items() if isinstance(value, Tensor)}
    wrong: list[str] = []
    try:
        # PyTorch's own loading runs the models' hooks, which may rename and resize.
        missing = model.load_state_dict(dict(tensors), strict=False).missing_keys
    except RuntimeError as error:
        wrong = re.findall(r'size mismatch for ([^:\s]+): ', str(error))
        if not wrong:
            raise
        missing = [name for name in expected if name not in tensors]
    missing = [name for name in missing if not name.endswith('num_batches_tracked')]
    if expected and len(missing) >= len(expected):
        raise SetupError(
            f"The checkpoint '{path}', named by {source}, fits no weight of the model: it has names "
            f'such as {_some(tensors)}, the model {_some(expected)}. It belongs to another model, or '
            'a prefix differs.'
        )
    if other_classes and wrong:
        class_layers = [name for name in wrong if name.split('.')[-2] in _CLASS_LAYERS]
        wrong = [name for name in wrong if name not in class_layers]
        if class_layers:
            print_log(
                f"'{path}' was trained with another number of classes; these layers keep their "
                f'random weights: {", ".join(class_layers)}.',
                logger='current',
            )
    if wrong:
        first = wrong[0]
        got = tuple(tensors[first].shape) if first in tensors else 'another one'
        raise SetupError(
            f"The checkpoint '{path}', named by {source}, is of another size than the model: "
            f"{len(wrong)} of its weights differ in shape; '{first}' should be {expected[first]} "
            f'but is {got}{_others(wrong)}. Use the config that the checkpoint was trained with, or '
            'a checkpoint of this size.'
        )
    if complete and missing:
        raise SetupError(
            f"The checkpoint '{path}', named by {source}, lacks {len(missing)} of the model's "
            f'{len(expected)} weights: {_some(missing)}. They would stay random. Use the config '
            'that the checkpoint was trained with, or a checkpoint of this model.'
        )


def _some(names: Any, count: int = 4) -> str:
    names = list(names)
    more = ', ...' if len(names) > count else ''
    return ', '.join(f"'{name}'" for name in names[:count]) + more


def _others(names: list[str]) -> str:
    return f' (also {_some(names[1:], 3)})' if len(names) > 1 else ''
