"""Parts as ONNX graphs, made by PyTorch's exporter."""

import os
from pathlib import Path

import torch
from torch import Tensor

from rs4d.extras import extra_library
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
) -> None:
    """Write a part as an ONNX graph with its weights beside it, in ``PATH.data``.

    Args:
        part: What is exported.
        example: Its inputs, whose shapes become the graph's.
        path: The file of the graph.
        dynamic: As for `export_program`.
        custom_ops: Call operators for convolution and scan that ONNX Runtime has with the library of
            `custom_ops`; without, standard operators are all that the graph needs.

    Raises:
        MissingExtraError: The exporter's libraries are not installed.
    """
    for name in ('onnx', 'onnxscript'):
        extra_library('export', name, 'An ONNX graph')
    from . import onnx_functions as functions

    with added_engine('onnx', NATIVE_ENGINE if custom_ops else PORTABLE_ENGINE):
        program = export_program(part, example, dynamic)
    graph = torch.onnx.export(
        program,
        input_names=part.inputs,
        output_names=part.outputs,
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    graph.save(path, external_data=True)
