"""RSMamba encoders from one file into another: the authors', those of stage 1, safetensors.

The authors' student files are state dicts of the encoder alone, often saved from a wrapped model,
so that every name starts with ``module.``; the names below are RSMamba's own. Stage 2 reads a
distillation's checkpoint, in which the encoder is ``student.*``.
"""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from safetensors.torch import save
from torch import Tensor

from rs4d.errors import ConfigError, some
from rs4d.files import refuse_existing, write_bytes

from .errors import CheckpointMismatchError
from .reading import SAFETENSORS, read_checkpoint, state_dict_of

_PATCHES = 'patch_embed.projection.weight'
_OUTSIDE = (_PATCHES, 'patch_embed.projection.bias', 'pos_embed')
_NORMS = ('pre_norm.weight', 'pre_norm.bias', 'ln1.weight', 'ln1.bias')
_CONVOLUTION = ('conv1d.weight', 'conv1d.bias')
_SCAN = ('x_proj.weight', 'dt_proj.weight', 'dt_proj.bias', 'A_log', 'D')
_BLOCK = ('in_proj.weight', *_CONVOLUTION, *_SCAN, 'out_proj.weight')


def convert_encoder(
    source: str | os.PathLike,
    target: str | os.PathLike,
    start: str = '',
    prefix: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Take the RSMamba encoder out of a checkpoint, and write it alone.

    Args:
        source: A distillation's checkpoint, a detector's, or a file with an encoder alone.
        target: ``*.pth`` for a state dict, or ``*.safetensors``, which has the encoder's own names
            and its architecture as JSON under ``rs4d`` in the metadata.
        start: What names in a ``*.pth`` start with: ``'student.'`` for stage 2, ``'module.'`` as the
            authors' may.
        prefix: What the encoder's names in ``source`` start with, if there are several.
        overwrite: Whether ``target`` may be replaced.

    Returns:
        The encoder's architecture.

    Raises:
        UserError: ``source`` cannot be read or holds no whole encoder, or ``target`` cannot be
            written or is there.
    """
    source, target = Path(source), Path(target)
    if target.suffix not in ('.pth', SAFETENSORS):
        raise ConfigError(
            f"The file to write, '{target}', should end in .pth or .safetensors. Change its name."
        )
    if not overwrite:
        refuse_existing(target)
    weights = _take_encoder(source, prefix)
    architecture = _describe(weights, source)
    if target.suffix == SAFETENSORS:
        plain = {name: value.detach().contiguous().clone() for name, value in weights.items()}
        # Other programs take the framework from this key.
        content = save(plain, {'format': 'pt', 'rs4d': json.dumps(architecture)})
    else:
        buffer = io.BytesIO()
        torch.save({start + name: value for name, value in weights.items()}, buffer)
        content = buffer.getvalue()
    write_bytes(target, content)
    return architecture


def _take_encoder(source: Path, prefix: str | None) -> dict[str, Tensor]:
    weights = state_dict_of(read_checkpoint(source), source)
    found = sorted(name.removesuffix(_PATCHES) for name in weights if name.endswith(_PATCHES))
    found = [start for start in found if f'{start}layers.0.A_log' in weights]
    if prefix is not None:
        prefix = prefix if not prefix or prefix.endswith('.') else f'{prefix}.'
        found = [start for start in found if start == prefix]
    if len(found) > 1:
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' holds {len(found)} RSMamba encoders, under {found}. Choose "
            'one with --prefix.'
        )
    if not found:
        where = '' if prefix is None else f" under the prefix '{prefix}'"
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' holds no RSMamba encoder{where}: its names start with "
            f'{some(sorted({name.split(".")[0] for name in weights}), 8)}. Give the checkpoint of a '
            'distillation, of a detector with this backbone, or of the encoder alone.'
        )
    start = found[0]
    taken = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    left_out = [key for key in weights if not key.startswith(start)]
    print_log(
        f"Took {len(taken)} weights under '{start}' from '{source}'; left out {len(left_out)}"
        f'{" (" + some(left_out) + ")" if left_out else ""}.',
        logger='current',
    )
    return taken


def _describe(weights: Mapping[str, Tensor], source: Path) -> dict[str, Any]:
    """Work out an encoder's architecture from its weights, and check that they are whole."""
    depth = len({name.split('.')[1] for name in weights if name.startswith('layers.')})
    names = {f'layers.{i}.{name}' for i in range(depth) for name in _BLOCK} | {*_OUTSIDE, *_NORMS}
    missing, unknown = sorted(names - weights.keys()), sorted(weights.keys() - names)
    if missing or unknown:
        raise CheckpointMismatchError(
            f"The encoder in '{source}' is not a whole RSMamba: {len(missing)} weights are missing "
            f'({some(missing)}) and {len(unknown)} are unknown ({some(unknown)}). '
            'Give a checkpoint whose names are those of RSMamba.'
        )
    dims, channels, patch = weights[_PATCHES].shape[:3]
    inner, states = weights['layers.0.A_log'].shape
    arch = dict(
        embed_dims=dims,
        num_layers=depth,
        inner_dims=inner,
        d_state=states,
        d_conv=weights['layers.0.conv1d.weight'].shape[-1],
        dt_rank=weights['layers.0.dt_proj.weight'].shape[-1],
    )
    positions = weights['pos_embed'].shape[1]
    return dict(
        type='RSMamba',
        arch=arch,
        patch_size=patch,
        in_channels=channels,
        num_positions=positions,
        origin=source.name,
    )
