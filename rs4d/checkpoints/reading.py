"""Reading a file of weights without running anything that it may hold."""

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from .errors import CheckpointMismatchError, CheckpointNotFoundError, UnsafeCheckpointError
from .plain_data import log_globals, numpy_globals

SAFETENSORS = '.safetensors'
MapLocation = str | torch.device | Callable | None
# What trainers put their model into, and so before its names: DataParallel, torch.compile.
TRAINERS = ('module', '_orig_mod')
# Beside these, attributes in which others keep SAM or a whole model.
WRAPPERS = (*TRAINERS, 'model', 'sam')
_KEYS = ('state_dict', 'model_state_dict', 'model')


def read_checkpoint(file: str | Path | IO[bytes], map_location: MapLocation = 'cpu') -> Any:
    """Read a checkpoint as data: tensors, numbers, names, arrays and MMEngine's logs.

    Args:
        file: A file of ``torch.save``, or ``*.safetensors``; or an open file.
        map_location: Where tensors go, as for :func:`torch.load`.

    Returns:
        What was saved. A safetensors file gives ``state_dict``, and one that `rs4d push` wrote also
        ``meta`` with the config and the classes, as a training's checkpoint has them.

    Raises:
        CheckpointNotFoundError: There is no such file.
        UnsafeCheckpointError: The file asks for more than data; nothing of it was run.
        CheckpointMismatchError: It is cut off, or something else.
    """
    name = str(getattr(file, 'name', 'downloaded')) if hasattr(file, 'read') else str(file)
    if isinstance(file, str | Path):
        file = Path(file).expanduser()
        if not file.is_file():
            raise CheckpointNotFoundError(
                f"There is no checkpoint '{file}' (working directory '{Path.cwd()}'). Correct the "
                'path.'
            )
        if file.suffix == SAFETENSORS:
            return _read_safetensors(file, map_location)
    allowed: list[Any] = [(item, key) for key, item in (numpy_globals() | log_globals()).items()]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            # Of files that are refused in words of ours below, or read in spite of it.
            for message in ("'torch.load' received a zip file", 'Detected pickle protocol'):
                warnings.filterwarnings('ignore', message)
            return torch.load(file, map_location=map_location, weights_only=True)
    except Exception as error:
        # Of any class: it depends on what the bytes happen to say.
        raise _explained(name, str(error)) from error


def trained_classes(path: str | Path) -> tuple[str, ...]:
    """Read which classes a checkpoint's labels mean, in their order; none if it does not say.

    Raises:
        CheckpointNotFoundError: There is no such file.
        UnsafeCheckpointError: See :func:`read_checkpoint`.
        CheckpointMismatchError: See :func:`read_checkpoint`.
    """
    content: Any = read_checkpoint(path)
    for key in ('meta', 'dataset_meta', 'classes'):
        content = content.get(key) if isinstance(content, Mapping) else None
    return tuple(map(str, content)) if isinstance(content, list | tuple) else ()


def state_dict_of(
    content: Any, path: str | Path, wrappers: Sequence[str] = TRAINERS
) -> dict[str, Tensor]:
    """Take the weights out of what a checkpoint holds, by the names of the bare model.

    Args:
        content: What :func:`read_checkpoint` returned: a dict of tensors, or one that has it under
            ``state_dict`` (MMEngine, Lightning), ``model_state_dict`` or ``model``.
        path: The file, for messages.
        wrappers: Names start with these where the model was wrapped; they are taken off, also several
            of them. :data:`WRAPPERS` has those of SAM's files.

    Returns:
        Tensors by name.

    Raises:
        CheckpointMismatchError: It holds no weights.
    """
    for key in _KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        content = {'': content}
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or '' in tensors:
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' holds no state dict (tensors by name). Give a file of weights."
        )
    wrapped = re.compile(rf'^(?:(?:{"|".join(wrappers)})\.)+')
    bare = {
        wrapped.sub('', name).replace('._orig_mod.', '.'): value for name, value in tensors.items()
    }
    # Where two names would be one, what looks like a wrapper belongs to the model.
    return bare if len(bare) == len(tensors) else tensors


def read_header(path: str | Path) -> dict[str, Any]:
    """Read what the header of a safetensors file says under ``rs4d``; nothing is an empty dict.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointMismatchError: It cannot be read as safetensors, or its header not as JSON.
    """
    if not Path(path).expanduser().is_file():
        raise CheckpointNotFoundError(f"There is no file '{path}'. Correct the path.")
    try:
        with safe_open(Path(path).expanduser(), 'pt') as file:
            text = (file.metadata() or {}).get('rs4d', '{}')
        header = json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointMismatchError(
            f"'{path}' cannot be read as safetensors ({error}). It may be cut off: get it again and "
            'compare its size with the source.'
        ) from error
    return header if isinstance(header, dict) else {}


def _read_safetensors(path: Path, map_location: MapLocation) -> dict[str, Any]:
    device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
    header = read_header(path)
    try:
        content: dict[str, Any] = dict(state_dict=load_file(path, str(device)))
    except (SafetensorError, OSError) as error:
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' cannot be read as safetensors ({error}). It may be cut off: "
            'get it again and compare its size with the source.'
        ) from error
    if 'config' in header:
        dataset_meta = dict(classes=header.get('classes', []))
        content['meta'] = dict(cfg=header['config'], dataset_meta=dataset_meta)
    return content


def _explained(path: str, text: str) -> CheckpointMismatchError:
    """Say why in a sentence, without PyTorch's advice to switch the safe reading off."""
    asked = re.search(r'GLOBAL (\S+)', text)
    reason = re.search(r'WeightsUnpickler error: *(.+)', text)
    remedy = (
        'Nothing of it was run. Ask its author for the weights alone, as a state dict of tensors or '
        'as safetensors; if you trust it, convert it elsewhere and give the result.'
    )
    if asked is not None:
        return UnsafeCheckpointError(
            f"The checkpoint '{path}' is refused: besides data it asks for {asked[1]}, and a file "
            f'that may call functions can run any code when it is read. {remedy}'
        )
    if re.search(r'got .*numpy\S*(void|object)', text, re.IGNORECASE):
        return CheckpointMismatchError(
            f"The checkpoint '{path}' is refused: it holds a NumPy array of objects or records, and "
            f'only arrays of numbers and texts are read. {remedy}'
        )
    if 'Cannot use' in text or (reason and re.search('Trying to|Can only', reason[1])):
        return UnsafeCheckpointError(
            f"The checkpoint '{path}' is refused: it holds a program or objects (TorchScript, "
            f'PyTorch before 0.4, calls of functions) and not only data. {remedy}'
        )
    first = reason[1] if reason else text.strip().partition('\n')[0]
    if not first or 'weights_only' in first:
        first = 'it is no file of torch.save'
    return CheckpointMismatchError(
        f"The checkpoint '{path}' cannot be read as a file of tensors ({first[:200]}). It may have "
        'been cut off while it was written or copied, or be something else: get it again and '
        'compare its size with the source.'
    )
