"""MMEngine's ways to a checkpoint, each ending in the safe reading.

MMEngine's own fall back to unpickling whatever a file holds, with a warning. Its
`CheckpointLoader` lets a loader be registered in place of another; that is done here for every
scheme that it knows.
"""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import (
    _get_mmengine_home,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from .errors import CheckpointNotFoundError
from .reading import read_checkpoint, state_dict_of

MapLocation = str | torch.device | Callable | None
_OPENMMLAB = ('open-mmlab://', 'openmmlab://')
_TORCHVISION = ('modelzoo://', 'torchvision://')


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_file(filename: str, map_location: MapLocation = None) -> Any:
    """Read a checkpoint of this machine.

    Args:
        filename: The path, of a file of ``torch.save`` or of safetensors.
        map_location: As for :func:`torch.load`.

    Returns:
        What was saved.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointMismatchError: It cannot be read, or asks for more than data.
    """
    return read_checkpoint(filename, map_location)


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: MapLocation = None) -> Any:
    """Download a checkpoint into PyTorch's cache, once a machine, and read it from there.

    Args:
        filename: The URL.
        map_location: As for :func:`torch.load`.

    Returns:
        What was saved.

    Raises:
        CheckpointNotFoundError: It cannot be downloaded.
        CheckpointMismatchError: It cannot be read, or asks for more than data.
    """
    name = Path(urlsplit(filename).path).name
    target = Path(torch.hub.get_dir()) / 'checkpoints' / name
    problem: OSError | None = None
    if get_local_rank() == 0 and not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(filename, str(target), progress=os.isatty(0))
        except OSError as error:
            problem = error
    barrier()
    if not target.is_file():
        raise CheckpointNotFoundError(
            f"The checkpoint '{filename}' could not be downloaded ({problem}). Check the address and "
            'the connection, or download it by hand and give its path.'
        ) from problem
    return read_checkpoint(target, map_location)


@CheckpointLoader.register_scheme(
    prefixes=[r'(\S+\:)?s3://', r'(\S+\:)?petrel://', 'pavi://'], force=True
)
def load_from_storage(filename: str, map_location: MapLocation = None) -> Any:
    """Read a checkpoint from one of MMEngine's storage backends.

    Args:
        filename: The address.
        map_location: As for :func:`torch.load`.

    Returns:
        What was saved.

    Raises:
        CheckpointMismatchError: It cannot be read, or asks for more than data.
    """
    content = get_file_backend(filename).get(filename)
    return read_checkpoint(filename, map_location, BytesIO(content))


@CheckpointLoader.register_scheme(prefixes=_TORCHVISION, force=True)
def load_from_torchvision(filename: str, map_location: MapLocation = None) -> Any:
    """Download one of torchvision's checkpoints.

    Args:
        filename: ``torchvision://<name>``.
        map_location: As for :func:`torch.load`.

    Returns:
        What was saved.

    Raises:
        CheckpointNotFoundError: torchvision has no such model, or it cannot be downloaded.
        CheckpointMismatchError: It cannot be read, or asks for more than data.
    """
    name = filename.split('://', 1)[1]
    return load_from_http(_address(get_torchvision_models(), name, filename), map_location)


@CheckpointLoader.register_scheme(prefixes=_OPENMMLAB, force=True)
def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> Any:
    """Download one of OpenMMLab's checkpoints by its short name.

    Args:
        filename: ``open-mmlab://<name>``.
        map_location: As for :func:`torch.load`.

    Returns:
        What was saved.

    Raises:
        CheckpointNotFoundError: There is no such model, or it cannot be downloaded.
        CheckpointMismatchError: It cannot be read, or asks for more than data.
    """
    name = filename.split('://', 1)[1]
    name = get_deprecated_model_names().get(name, name)
    address = _address(get_external_models(), name, filename)
    if address.startswith(('http://', 'https://')):
        return load_from_http(address, map_location)
    return load_from_file(str(Path(_get_mmengine_home()) / address), map_location)


@CheckpointLoader.register_scheme(prefixes='mmcls://', force=True)
def load_from_mmcls(filename: str, map_location: MapLocation = None) -> Any:
    """Download the backbone of one of OpenMMLab's classifiers.

    Args:
        filename: ``mmcls://<name>``.
        map_location: As for :func:`torch.load`.

    Returns:
        A dict with ``state_dict``, by the backbone's own names.

    Raises:
        CheckpointNotFoundError: There is no such model, or it cannot be downloaded.
        CheckpointMismatchError: It cannot be read, or asks for more than data.
    """
    address = _address(get_mmcls_models(), filename.removeprefix('mmcls://'), filename)
    weights = state_dict_of(load_from_http(address, map_location), filename)
    prefix = 'backbone.'
    return dict(
        state_dict={k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    )


def _address(known: dict[str, str], name: str, filename: str) -> str:
    if name not in known:
        raise CheckpointNotFoundError(
            f"The checkpoint '{filename}' is not one that MMEngine knows. Check the spelling, or "
            'give an address or a path.'
        )
    return known[name]
