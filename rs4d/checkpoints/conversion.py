"""RSMamba encoders as the method's authors publish them, as stage 1 writes them, and alone.

The authors' student files are state dicts of the encoder alone, often saved from a wrapped model,
so that every name starts with ``module.``; the names below are RSMamba's own. Stage 2 reads a
distillation's checkpoint, in which the encoder is ``student.*``.
"""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from rs4d.checkpoints import (
    describe_encoder,
    encoder_prefix,
    read_checkpoint,
    state_dict_of,
    write_encoder,
)
from rs4d.errors import SetupError, some
from rs4d.files import refuse_existing, write_bytes

_WRAPPED = 'module.'
_STUDENT = 'student.'


def take_encoder(
    source: str | os.PathLike, prefix: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take the RSMamba encoder out of a checkpoint.

    Args:
        source: A distillation's checkpoint, a detector's, or a file with an encoder alone, from
            ``torch.save`` or safetensors.
        prefix: What the encoder's names start with, if the file holds several.

    Returns:
        The weights by the encoder's own names, and its architecture.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointMismatchError: It cannot be read, asks for more than data, or holds no whole
            encoder.
    """
    name = os.fspath(source)
    weights = state_dict_of(read_checkpoint(name), name)
    start = encoder_prefix(weights, name, prefix)
    taken = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    architecture = describe_encoder(taken, name)
    left_out = [key for key in weights if not key.startswith(start)]
    print_log(
        f"Took {len(taken)} weights under '{start}' from '{name}'; left out {len(left_out)}"
        f'{" (" + some(left_out) + ")" if left_out else ""}.',
        logger='current',
    )
    return taken, architecture


def from_authors(
    source: str | os.PathLike,
    target: str | os.PathLike,
    prefix: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Turn a published student file into a checkpoint that stage 2 reads like one of stage 1.

    Args:
        source: The published file.
        target: The checkpoint to write, ``.pth`` with the encoder as ``student.*``, or
            ``.safetensors`` with the encoder alone.
        prefix: What the encoder's names start with, if the file holds several.
        overwrite: Whether ``target`` may be replaced.

    Returns:
        The encoder's architecture.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointMismatchError: It cannot be read, asks for more than data, or holds no whole
            encoder.
        ExistingFileError: ``target`` is there and not to be replaced.
        SetupError: ``target`` ends in neither.
        FileWriteError: ``target`` cannot be written.
    """
    target = _target(target, ('.pth', '.safetensors'), overwrite)
    if target.suffix == '.safetensors':
        return export_encoder(source, target, prefix, overwrite)
    weights, architecture = take_encoder(source, prefix)
    content = {_STUDENT + name: value for name, value in weights.items()}
    meta = dict(encoder=architecture, origin=Path(source).name)
    _save(dict(meta=meta, state_dict=content), target)
    return architecture


def to_authors(
    source: str | os.PathLike,
    target: str | os.PathLike,
    prefix: str | None = None,
    wrapped: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Turn an encoder of ours into a file as the authors publish theirs: its state dict alone.

    Args:
        source: A checkpoint with the encoder.
        target: The file to write, ``.pth``.
        prefix: What the encoder's names start with, if the checkpoint holds several.
        wrapped: Whether every name gets the prefix ``module.``.
        overwrite: Whether ``target`` may be replaced.

    Returns:
        The encoder's architecture.

    Raises:
        UserError: As for :func:`from_authors`.
    """
    target = _target(target, ('.pth',), overwrite)
    weights, architecture = take_encoder(source, prefix)
    start = _WRAPPED if wrapped else ''
    _save({start + name: value for name, value in weights.items()}, target)
    return architecture


def export_encoder(
    source: str | os.PathLike,
    target: str | os.PathLike,
    prefix: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write an encoder as one safetensors file with its architecture in the header.

    Args:
        source: A checkpoint with the encoder.
        target: The file to write, ``.safetensors``.
        prefix: What the encoder's names start with, if the checkpoint holds several.
        overwrite: Whether ``target`` may be replaced.

    Returns:
        The header.

    Raises:
        UserError: As for :func:`from_authors`.
    """
    target = _target(target, ('.safetensors',), overwrite)
    weights, _ = take_encoder(source, prefix)
    return write_encoder(target, weights, dict(file=Path(source).name))


def _target(path: str | os.PathLike, suffixes: Iterable[str], overwrite: bool) -> Path:
    path = Path(path)
    if path.suffix not in suffixes:
        raise SetupError(
            f"The file to write, '{path}', should end in {' or '.join(suffixes)}. Change its name."
        )
    if not overwrite:
        refuse_existing(path)
    return path


def _save(content: Mapping[str, Any], target: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(target, buffer.getvalue())
