"""Reading a file of weights without running anything that it may hold."""

import functools
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import get_torch_safe_globals
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import CheckpointMismatchError, CheckpointNotFoundError, UnsafeCheckpointError

SAFETENSORS = '.safetensors'
_STATISTICS = ('min', 'max', 'mean', 'current')
_UNSAFE = re.compile(r'(?:GLOBAL|Unsupported operand|Unsupported class|function|Trying to call)')


@functools.wraps(getattr)
def _statistics_method(owner: object, name: str) -> Any:
    # MMEngine's logs are pickled with their methods. The whole of getattr would be too much trust.
    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(
        f'GLOBAL builtins.getattr of {getattr(owner, "__name__", type(owner).__name__)}.{name}'
    )


@contextmanager
def _what_logs_need() -> Iterator[None]:
    allowed = [item for item in get_torch_safe_globals() if item is not getattr]
    with torch.serialization.safe_globals([*allowed, _statistics_method]):
        yield


def read_checkpoint(
    path: str | Path,
    map_location: str | torch.device | Callable | None = 'cpu',
    buffer: IO[bytes] | None = None,
) -> Any:
    """Read a checkpoint as data: tensors, numbers, names and MMEngine's logs.

    Args:
        path: A file of ``torch.save``, or ``*.safetensors``.
        map_location: Where tensors go, as for :func:`torch.load`.
        buffer: The content, where the file is not on this machine.

    Returns:
        What was saved. A safetensors file gives ``state_dict`` and, under ``meta``, its metadata.

    Raises:
        CheckpointNotFoundError: There is no such file.
        UnsafeCheckpointError: The file asks for more than data; nothing of it was run.
        CheckpointMismatchError: It is cut off, or something else.
    """
    name, path = str(path), Path(path).expanduser()
    if buffer is None and not path.is_file():
        raise CheckpointNotFoundError(
            f"There is no checkpoint '{path}' (working directory '{Path.cwd()}'). Correct the path."
        )
    if path.suffix == SAFETENSORS and buffer is None:
        return _read_safetensors(path, map_location)
    try:
        with _what_logs_need():
            return torch.load(
                path if buffer is None else buffer, map_location=map_location, weights_only=True
            )
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as error:
        raise _explained(name, error) from error


def state_dict_of(content: Any, path: str | Path) -> dict[str, Tensor]:
    """Take the weights out of what a checkpoint holds.

    Args:
        content: What :func:`read_checkpoint` returned: a dict of tensors, or one that has it under
            ``state_dict`` or ``model``.
        path: The file, for messages.

    Returns:
        Tensors by name, without the prefix ``module.`` of DataParallel.

    Raises:
        CheckpointMismatchError: It holds no weights.
    """
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = isinstance(content, Mapping) and any(isinstance(v, Tensor) for v in content.values())
    if not tensors:
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' holds a {type(content).__name__} that is not a state dict "
            '(tensors by name). Give a file of weights.'
        )
    return {
        str(name).removeprefix('module.'): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


def _read_safetensors(path: Path, map_location: Any) -> dict[str, Any]:
    device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        with safe_open(path, framework='pt', device=str(device)) as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return dict(state_dict=weights, meta=dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' cannot be read as safetensors ({error}). It may be cut off: "
            'get it again and compare its size with the source.'
        ) from error


def _explained(path: str, error: Exception) -> CheckpointMismatchError:
    """Say why in a line; PyTorch's advice to switch the safe reading off is left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in lines if 'WeightsUnpickler error' in line), '')
    reason = reason.split('WeightsUnpickler error:')[-1].strip()
    asked = re.search(r'GLOBAL (\S+)', reason) or re.search(r'GLOBAL (\S+)', str(error))
    if asked is not None:
        return UnsafeCheckpointError(
            f"The checkpoint '{path}' is refused: besides data it asks for {asked[1]}, and a file "
            'that may call functions can run any code when it is read. Nothing of it was run. Ask '
            'its author for the weights alone, as a state dict of tensors or as safetensors; if you '
            'trust it, convert it elsewhere and give the result.'
        )
    if reason and _UNSAFE.search(reason):
        return UnsafeCheckpointError(
            f"The checkpoint '{path}' is refused: it holds more than data ({reason[:200]}). Nothing "
            'of it was run. Ask its author for the weights alone, as a state dict of tensors or as '
            'safetensors.'
        )
    first = reason or (lines[0] if lines else type(error).__name__)
    return CheckpointMismatchError(
        f"The checkpoint '{path}' cannot be read as a file of tensors ({first[:200]}). It may have "
        'been cut off while it was written or copied, or be something else: get it again and '
        'compare its size with the source.'
    )
