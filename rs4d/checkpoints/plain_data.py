"""The classes and functions by which plain data are written into pickles: nothing else is read.

NumPy's arrays and numbers, and MMEngine's logs, are pickled as calls. Each is allowed by the name in
the file; NumPy 1 and 2 spell their modules differently, and either reads what the other wrote.
"""

import collections
import functools
import io
import operator
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from .errors import CheckpointMismatchError, UnsafeCheckpointError

_ARRAY_PARTS = ('multiarray._reconstruct', 'multiarray.scalar', 'numeric._frombuffer')
_DTYPES = '?bBhHiIlLqQefdgFDGSUMm'
_STATISTICS = ('min', 'max', 'mean', 'current')


@functools.cache
def numpy_globals() -> dict[str, Any]:
    """What NumPy's arrays and numbers ask for, by its name in files of NumPy 1 and 2."""
    core = np._core if hasattr(np, '_core') else np.core
    allowed: dict[str, Any] = {'numpy.ndarray': np.ndarray, 'numpy.dtype': np.dtype}
    for part in _ARRAY_PARTS:
        for module in ('numpy.core', 'numpy._core'):
            allowed[f'{module}.{part}'] = operator.attrgetter(part)(core)
    kinds = {type(np.dtype(code)) for code in _DTYPES}
    # With Python 3's pickle of protocol 2, as torch.save writes, bytes are a call: those of an empty
    # array of `bytes`, others of `_codecs.encode`, which PyTorch allows by itself.
    allowed |= {f'{module}.bytes': _no_bytes for module in ('builtins', '__builtin__')}
    return allowed | {f'numpy.dtypes.{kind.__name__}': kind for kind in kinds}


def _no_bytes() -> bytes:
    # The whole of bytes() would let a file ask for any amount of memory.
    return b''


@functools.cache
def log_globals() -> dict[str, Any]:
    """What MMEngine's logs ask for in its checkpoints, by its name in them."""
    name = f'{HistoryBuffer.__module__}.{HistoryBuffer.__name__}'
    return {name: HistoryBuffer, 'builtins.getattr': _statistics_method, 'builtins.slice': slice}


def _statistics_method(owner: object, name: str) -> Any:
    # Logs are pickled with their methods. The whole of getattr would be too much trust.
    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(
        f'GLOBAL builtins.getattr of {getattr(owner, "__name__", type(owner).__name__)}.{name}'
    )


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of plain data: numbers, texts, lists, dicts, arrays and tensors.

    Raises:
        UnsafeCheckpointError: It asks for more than data; nothing of it was run.
        CheckpointMismatchError: It is cut off, or something else.
        OSError: It cannot be opened.
    """
    content = io.BytesIO(Path(path).read_bytes())
    try:
        return _PlainUnpickler(content).load()
    except UnsafeCheckpointError as error:
        raise UnsafeCheckpointError(
            f"'{path}' is refused: besides data it asks for {error}, and a file that may call "
            'functions can run any code when it is read. Nothing of it was run. Have it written '
            'without that, for example as JSON.'
        ) from None
    except Exception as error:
        # Of any class: it depends on what the bytes happen to say.
        raise CheckpointMismatchError(
            f"'{path}' cannot be read as a pickle of plain data. It may be cut off, hold more than "
            'data, or be something else.'
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        allowed = numpy_globals() | _tensor_globals()
        asked = f'{module}.{name}'
        if asked not in allowed:
            raise UnsafeCheckpointError(asked)
        return allowed[asked]


@functools.cache
def _tensor_globals() -> dict[str, Any]:
    return {
        '_codecs.encode': _encode,
        'collections.OrderedDict': collections.OrderedDict,
        'torch.Size': torch.Size,
        'torch.storage._load_from_bytes': _storage,
        'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    }


def _encode(text: str, encoding: str) -> bytes:
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes are written as latin1, not {encoding}')
    return text.encode('latin1')


def _storage(content: bytes) -> Any:
    # PyTorch's own function of this name would unpickle whatever it is given.
    return torch.load(io.BytesIO(content), weights_only=True)
