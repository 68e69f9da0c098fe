"""An encoder as one safetensors file, whose header says of which architecture it is.

The header is JSON under the key ``rs4d`` of the file's metadata; every tool that reads safetensors
shows it, and none has to run code for it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rs4d.files import write_bytes

from .errors import CheckpointMismatchError, CheckpointNotFoundError
from .reading import SAFETENSORS

HEADER_KEY = 'rs4d'
HEADER_VERSION = 1
ENCODER_TYPE = 'RSMamba'

_PATCHES = 'patch_embed.projection.weight'
_OUTSIDE = ('patch_embed.projection.bias', 'pos_embed')
_NORMS = ('pre_norm', 'ln1')
# From a name in a block to its shape; e, i, s, c and r are the architecture's numbers.
_BLOCK = {
    'in_proj.weight': ('2i', 'e'),
    'conv1d.weight': ('i', '1', 'c'),
    'conv1d.bias': ('i',),
    'x_proj.weight': ('r+2s', 'i'),
    'dt_proj.weight': ('i', 'r'),
    'dt_proj.bias': ('i',),
    'A_log': ('i', 's'),
    'D': ('i',),
    'out_proj.weight': ('e', 'i'),
}


def encoder_prefix(state_dict: Mapping[str, Tensor], source: str, prefix: str | None = None) -> str:
    """Find what the names of an RSMamba encoder begin with in a checkpoint.

    Args:
        state_dict: The checkpoint's weights.
        source: The file, for messages.
        prefix: The one to use, if there are several encoders.

    Returns:
        ``'student.'`` for a distillation, ``'backbone.'`` for a detector, ``''`` for an encoder
        alone.

    Raises:
        CheckpointMismatchError: There is no encoder, or there are several.
    """
    found = sorted(name.removesuffix(_PATCHES) for name in state_dict if name.endswith(_PATCHES))
    found = [start for start in found if f'{start}layers.0.A_log' in state_dict]
    if prefix is not None:
        prefix = prefix if not prefix or prefix.endswith('.') else f'{prefix}.'
        found = [start for start in found if start == prefix]
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' holds {len(found)} RSMamba encoders, under {found}. Choose "
            'one with --prefix.'
        )
    where = '' if prefix is None else f" under the prefix '{prefix}'"
    names = sorted({name.split('.')[0] for name in state_dict})
    raise CheckpointMismatchError(
        f"The checkpoint '{source}' holds no RSMamba encoder{where}: its names start with "
        f'{", ".join(names[:8])}. Give the checkpoint of a distillation, of a detector with this '
        'backbone, or of the encoder alone.'
    )


def describe_encoder(state_dict: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Work out an RSMamba's architecture from its weights, and check that they are whole.

    Args:
        state_dict: Weights by the encoder's own names, such as ``layers.0.in_proj.weight``.
        source: The file, for messages.

    Returns:
        ``type``, ``arch`` (as RSMamba takes it), ``patch_size``, ``in_channels`` and
        ``num_positions``, the cells of the grid for which the position embedding is stored.

    Raises:
        CheckpointMismatchError: Weights are missing, are not RSMamba's, or disagree in shape.
    """
    blocks = {name.split('.')[1] for name in state_dict if name.startswith('layers.')}
    names = {f'layers.{i}.{name}' for i in range(len(blocks)) for name in _BLOCK}
    names |= {_PATCHES, *_OUTSIDE, *(f'{n}.{w}' for n in _NORMS for w in ('weight', 'bias'))}
    missing, unknown = sorted(names - state_dict.keys()), sorted(state_dict.keys() - names)
    if missing or unknown:
        raise CheckpointMismatchError(
            f"The encoder in '{source}' is not a whole RSMamba: {len(missing)} weights are missing "
            f'({", ".join(missing[:4])}) and {len(unknown)} are unknown ({", ".join(unknown[:4])}). '
            'Give a checkpoint whose names are those of RSMamba.'
        )
    shape = {name: tuple(value.shape) for name, value in state_dict.items()}
    dims, channels, patch = shape[_PATCHES][:3]
    inner, states = shape['layers.0.A_log']
    arch = dict(
        embed_dims=dims,
        num_layers=len(blocks),
        inner_dims=inner,
        d_state=states,
        d_conv=shape['layers.0.conv1d.weight'][-1],
        dt_rank=shape['layers.0.dt_proj.weight'][-1],
    )
    _check_shapes(shape, arch, source)
    return dict(
        type=ENCODER_TYPE,
        arch=arch,
        patch_size=patch,
        in_channels=channels,
        num_positions=shape['pos_embed'][1],
    )


def _check_shapes(
    shape: Mapping[str, tuple[int, ...]], arch: Mapping[str, int], source: str
) -> None:
    e, i, s = arch['embed_dims'], arch['inner_dims'], arch['d_state']
    r = arch['dt_rank']
    sizes = {'e': e, 'i': i, 's': s, 'c': arch['d_conv'], 'r': r}
    sizes |= {'2i': 2 * i, 'r+2s': r + 2 * s, '1': 1}
    for block in range(arch['num_layers']):
        for name, letters in _BLOCK.items():
            wanted = tuple(sizes[letter] for letter in letters)
            full = f'layers.{block}.{name}'
            if shape[full] != wanted:
                raise CheckpointMismatchError(
                    f"The encoder in '{source}' contradicts itself: {full} is {shape[full]}, but "
                    f'the first block asks for {wanted}. The file is damaged or of another model.'
                )


def write_encoder(
    path: str | os.PathLike, state_dict: Mapping[str, Tensor], origin: Mapping[str, str]
) -> dict[str, Any]:
    """Write an encoder as safetensors, whole or not at all.

    Args:
        path: The file, ending in ``.safetensors``.
        state_dict: Weights by the encoder's own names.
        origin: Where they come from, for the header.

    Returns:
        The header.

    Raises:
        CheckpointMismatchError: The weights are not a whole RSMamba.
        FileWriteError: It cannot be written.
    """
    path = Path(path)
    header = dict(version=HEADER_VERSION, **describe_encoder(state_dict, str(path)))
    header['origin'] = dict(origin)
    weights = {
        name: value.detach().cpu().contiguous().clone() for name, value in state_dict.items()
    }
    # Other programs take the framework from this key.
    metadata = {'format': 'pt', HEADER_KEY: json.dumps(header)}
    write_bytes(path, save(weights, metadata))
    return header


def encoder_header(path: str | os.PathLike) -> dict[str, Any] | None:
    """Read the architecture from the header of a safetensors file.

    Args:
        path: The file.

    Returns:
        The header, or None if the file is no safetensors or has none.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointMismatchError: The file or its header cannot be read.
    """
    path = Path(path).expanduser()
    if path.suffix != SAFETENSORS:
        return None
    if not path.is_file():
        raise CheckpointNotFoundError(f"There is no checkpoint '{path}'. Correct the path.")
    try:
        with safe_open(path, framework='pt') as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
        header = None if text is None else json.loads(text)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' cannot be read as safetensors with an encoder's header "
            f'({error}). It may be cut off: get it again.'
        ) from error
    if header is not None and not isinstance(header, dict):
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' has a {type(header).__name__} as its header under "
            f"'{HEADER_KEY}', expected an object. Convert the encoder again."
        )
    return header


def check_header(module: nn.Module, header: Mapping[str, Any], source: str) -> None:
    """Raise unless an encoder is of the architecture that a file's header names.

    Args:
        module: The encoder that the file will be loaded into.
        header: What :func:`encoder_header` returned.
        source: The file, for messages.

    Raises:
        CheckpointMismatchError: The version, the type or a number differs.
    """
    if header.get('version') != HEADER_VERSION:
        raise CheckpointMismatchError(
            f"The header of '{source}' has version {header.get('version')!r}; this release reads "
            f'version {HEADER_VERSION}. Install the release that wrote it, or convert it again.'
        )
    name = type(module).__name__
    if header.get('type') != name:
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' holds a {header.get('type')}, the model's encoder is a "
            f'{name}. Set the encoder of the config to the one that the file holds.'
        )
    ours = describe_encoder(module.state_dict(), 'the model')
    wanted = {**ours['arch'], 'patch_size': ours['patch_size'], 'in_channels': ours['in_channels']}
    arch = header.get('arch')
    found = dict(arch) if isinstance(arch, Mapping) else {}
    found |= {key: header.get(key) for key in ('patch_size', 'in_channels')}
    # The position embedding may be of another size: it is interpolated.
    different = [key for key, value in wanted.items() if found.get(key) != value]
    if different:
        listed = ', '.join(f'{key} {found.get(key)} (model: {wanted[key]})' for key in different)
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' is of another architecture than the model: by its header it "
            f"has {listed}. Set the encoder's arch in the config to dict({_as_arguments(found)}), "
            'or give the checkpoint of this size.'
        )


def _as_arguments(numbers: Mapping[str, Any]) -> str:
    outside = ('patch_size', 'in_channels')
    return ', '.join(f'{key}={value}' for key, value in numbers.items() if key not in outside)
