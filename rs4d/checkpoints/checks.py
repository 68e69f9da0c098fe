"""Checks that a checkpoint is there, readable and made for the model, before it is needed.

MMEngine loads what fits and writes the rest into the log. A stage-2 training whose encoder was not
loaded then runs to its end and looks like a bad model, so here it is an error.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.config import is_class_head
from rs4d.errors import ConfigError, some

from .load_report import watched_load
from .pretrained_init import pretrained_weights
from .reading import read_checkpoint, state_dict_of


def require_checkpoint(path: str, source: str) -> None:
    """Raise unless a checkpoint's file is there; names with a scheme such as ``https://`` pass.

    ``source`` is the config's key or the tool's argument that names it.

    Raises:
        ConfigError: There is no such file.
    """
    if _is_local(path) and not Path(path).expanduser().is_file():
        raise ConfigError(
            f"The checkpoint '{path}', named by {source}, does not exist (working directory "
            f"'{Path.cwd()}'). Train or download it first, correct the path, or, to start from "
            f'random weights, set what names it to None.'
        )


def check_checkpoint(model: nn.Module, path: str, source: str, *, complete: bool) -> None:
    """Raise unless a checkpoint was made for a model of this shape.

    The model's weights are overwritten where they fit.

    Args:
        model: The model that the checkpoint will be loaded into.
        path: The checkpoint; a name with a scheme such as ``https://`` is not looked at.
        source: The config's key or the tool's argument that names it.
        complete: Whether every weight of the model must be in it; otherwise heads may also have
            another number of classes, and keep their random weights there.

    Raises:
        ConfigError: It is missing, of another size, or lacks weights.
        CheckpointMismatchError: It cannot be read, or is of another model.
    """
    if not _is_local(path):
        return
    require_checkpoint(path, source)
    weights = state_dict_of(read_checkpoint(path), path)
    check_weights(model, weights, path, source, complete=complete)


def require_classes(model: nn.Module, classes: Sequence[str], path: object) -> None:
    """Raise if more classes are named than a model has, so that labels would mean others.

    Raises:
        ConfigError: There are more.
    """
    counts = {
        int(module.num_classes)
        for name, module in model.named_modules()
        if is_class_head(name) and isinstance(getattr(module, 'num_classes', None), int)
    }
    if counts and len(classes) > max(counts):
        raise ConfigError(
            f"'{path}' names {len(classes)} classes ({some(classes)}), and its model has "
            f'{max(counts)}, so that nobody knows which label is which. Give the config and the '
            'checkpoint that belong together.'
        )


def check_pretrained(model: nn.Module) -> None:
    """Check every ``init_cfg=dict(type='Pretrained', ...)`` in a model; overwrites weights that fit.

    Modules of other packages with an ``init_weights`` of their own may rename what they read; of
    theirs only the file's existence is checked.

    Raises:
        ConfigError: A checkpoint is missing, of another size, or lacks weights.
        CheckpointMismatchError: One cannot be read, or is of another model.
    """
    for name, module, init in _pretrained_modules(model, 'model'):
        path, source = init['checkpoint'], f'{name}.init_cfg'
        require_checkpoint(path, source)
        if _is_local(path) and not _loads_by_itself(module):
            weights = pretrained_weights(module, path, init.get('prefix'))
            check_weights(module, weights, path, source, complete=True)


def _is_local(path: str) -> bool:
    return re.match(r'[a-z][a-z0-9+-]+://', path, re.IGNORECASE) is None


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


def _loads_by_itself(module: nn.Module) -> bool:
    own = getattr(type(module), 'init_weights', None) is not BaseModule.init_weights
    return own and not type(module).__module__.startswith('rs4d.')


def check_weights(
    model: nn.Module, weights: Mapping[str, Tensor], path: str, source: str, *, complete: bool
) -> None:
    """Raise unless weights are those of a model of this shape; see `check_checkpoint`.

    Raises:
        ConfigError: They are of another size, or some are missing.
        CheckpointMismatchError: They are of another model.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    with watched_load(model, path) as report:
        try:
            # PyTorch's own loading runs the models' hooks, which may rename and resize.
            model.load_state_dict(dict(weights), strict=False)
        except RuntimeError as error:
            if 'size mismatch' not in str(error):
                raise
    wrong, missing = report.misshapen, report.missing
    start = f"The checkpoint '{path}', named by {source},"
    if not wrong:
        report.require_any()
    if not complete:
        counting = [name for name in wrong if _counts_classes(model, name, weights.get(name))]
        wrong = [name for name in wrong if name not in counting]
        if counting and not wrong:
            print_log(
                f"'{path}' was trained with another number of classes; these layers keep their "
                f'random weights: {", ".join(counting)}.',
                logger='current',
            )
    if wrong:
        first = wrong[0]
        got = tuple(weights[first].shape) if first in weights else 'another one'
        also = f' (also {some(wrong[1:])})' if wrong[1:] else ''
        raise ConfigError(
            f'{start} is of another size than the model: {len(wrong)} of its weights differ in '
            f"shape; '{first}' should be {expected[first]} but is {got}{also}. Use the config that "
            'the checkpoint was trained with, or a checkpoint of this size.'
        )
    if complete and missing:
        raise ConfigError(
            f"{start} lacks {len(missing)} of the model's {len(expected)} weights: {some(missing)}. "
            'They would stay random. Use the config that the checkpoint was trained with, or a '
            'checkpoint of this model.'
        )


def _counts_classes(model: nn.Module, name: str, found: Tensor | None) -> bool:
    """Whether a weight of another shape is one of a head's that has a row for each class."""
    own = model.state_dict()[name].shape
    if found is None or found.dim() != len(own) or found.shape[1:] != own[1:]:
        return False
    for start, head in model.named_modules():
        classes = getattr(head, 'num_classes', None)
        if isinstance(classes, int) and is_class_head(start) and name.startswith(f'{start}.'):
            anchors = getattr(head, 'num_base_priors', 1)
            # Scores, scores with one for the background, boxes; for each anchor.
            rows = (classes, classes + 1, 4 * classes, classes * anchors, (classes + 1) * anchors)
            if own[0] in rows:
                return True
    return False
