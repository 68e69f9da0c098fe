"""Parts as ONNX graphs, made by PyTorch's exporter."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from rs4d.extras import extra_library
from rs4d.files import PART, unwritten
from rs4d.ops import added_engine

from .onnx_engine import NATIVE_ENGINE, PORTABLE_ENGINE
from .parts import Part
from .program import export_program


def export_onnx(
    part: Part,
    example: tuple[Tensor, ...],
    path: str | os.PathLike[str],
    dynamic: bool = False,
    custom_ops: bool = False,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a part as an ONNX graph with its weights beside it, in ``PATH.data``, whole or not at all.

    Args:
        part: What is exported.
        example: Its inputs, whose shapes become the graph's.
        path: The file of the graph.
        dynamic: As for `export_program`.
        custom_ops: Call operators for convolution and scan that ONNX Runtime has with the library of
            `custom_ops`; without, standard operators are all that the graph needs.
        about: What the graph says of itself as JSON, under ``rs4d`` among its metadata.

    Raises:
        MissingExtraError: The exporter's libraries are not installed.
        FileWriteError: It cannot be written; what was there before is as it was.
    """
    for name in ('onnx', 'onnxscript'):
        extra_library('export', name, 'An ONNX graph')
    from . import onnx_functions as functions

    with added_engine('onnx', NATIVE_ENGINE if custom_ops else PORTABLE_ENGINE):
        program = export_program(part, example, dynamic)
    graph = torch.onnx.export(
        program,
        input_names=part.inputs,
        output_names=part.output_names(len(program.graph_signature.user_outputs)),
        opset_version=functions.OPSET,
        custom_translation_table={
            torch.ops.rs4d.onnx_conv_silu.default: functions.ConvSilu,
            torch.ops.rs4d.onnx_scan.default: functions.BidirectionalScan,
        },
        verbose=False,
    )
    assert graph is not None
    for node in graph.model.graph.all_nodes():
        # Where in Python each came from, which is most of the file.
        node.metadata_props.clear()
    graph.model.metadata_props['rs4d'] = json.dumps(about or {})
    _save(graph, Path(path))


def _save(graph: Any, path: Path) -> None:
    """Write graph and weights into a folder beside them, and rename them when both are there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(PART, f'{path.name}.', path.parent) as folder:
            graph.save(Path(folder) / path.name, external_data=True)
            # A graph finds its weights by the name that they have beside it.
            for name in (f'{path.name}.data', path.name):
                if (Path(folder) / name).exists():
                    (Path(folder) / name).replace(path.with_name(name))
    except OSError as error:
        raise unwritten(path, error) from error
