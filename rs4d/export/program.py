"""Parts as programs of `torch.export`, which run with PyTorch and ``rs4d.ops`` alone."""

import io
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rs4d.files import write_bytes

from .parts import Part

Runner = Callable[..., list[Tensor]]


def export_program(
    part: Part, example: tuple[Tensor, ...], dynamic: bool = False
) -> torch.export.ExportedProgram:
    """Trace a part.

    Where the C++ kernels were built, the program calls all blocks of an RSMamba as one operator of
    ``rs4d.ops``, and takes the time of the model itself.

    Args:
        part: What is traced.
        example: Its inputs, whose shapes become the program's.
        dynamic: Leave the number of images, height and width open; the sides stay multiples of the
            part's ``divisor``.
    """
    with torch.no_grad():
        return torch.export.export(
            part, example, dynamic_shapes=dynamic_shapes(part) if dynamic else None, strict=False
        )


def dynamic_shapes(part: Part) -> tuple[Any, ...]:
    """Return the open sizes of a part's inputs, as `torch.export` takes them."""
    divisor = part.divisor
    # A level of one cell is another program: of detectors, which have such levels, it is left out.
    least = 2 if len(part.inputs) > 1 else 1
    sides = {
        2: divisor * torch.export.Dim('rows', min=least),
        3: divisor * torch.export.Dim('columns', min=least),
    }
    if len(part.inputs) > 1:  # a detector takes one image
        return sides, (None,) * (len(part.inputs) - 1)
    return ({0: torch.export.Dim('images', min=1), **sides},)


def save_program(
    program: torch.export.ExportedProgram,
    path: str | os.PathLike[str],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a program, whole or not at all.

    Args:
        program: What is written.
        path: The file, ``.pt2``.
        about: What it says of itself as JSON, under ``rs4d`` among its extra files.

    Raises:
        FileWriteError: It cannot be written.
    """
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={'rs4d': json.dumps(about or {})})
    write_bytes(path, file.getvalue())


def load_program(path: str | os.PathLike[str]) -> Runner:
    """Read a program, as a function of its inputs."""
    module = torch.export.load(path).module()

    def run(*inputs: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            return list(module(*inputs))

    return run
