"""Exported files as functions of tensors, one for each runtime."""

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from rs4d.extras import extra_library

from .program import Runner, load_program


def runners(
    path: str | os.PathLike[str], library: str | os.PathLike[str] | None = None
) -> dict[str, Runner]:
    """Open a file in every runtime here that can run it.

    Args:
        path: A program or a graph.
        library: That of the custom operators, if the graph calls them.

    Returns:
        From a runtime's name to a function of the file's inputs.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    if Path(path).suffix == '.pt2':
        return {'PyTorch': load_program(path)}
    found = {'ONNX Runtime': onnxruntime_runner(path, library)}
    if library is None and find_spec('openvino') is not None:
        found['OpenVINO'] = openvino_runner(path)
    return found


def onnxruntime_runner(
    path: str | os.PathLike[str], library: str | os.PathLike[str] | None = None, threads: int = 0
) -> Runner:
    """Open a graph in ONNX Runtime, on the CPU.

    Args:
        path: The graph.
        library: That of the custom operators, if the graph calls them.
        threads: 0 for as many as PyTorch has.
    """
    onnxruntime = extra_library('export', 'onnxruntime', 'Running an ONNX graph')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    if library is not None:
        options.register_custom_ops_library(os.fspath(library))
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=['CPUExecutionProvider']
    )
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        feed = {name: x.numpy() for name, x in zip(names, inputs, strict=False)}
        return [torch.from_numpy(x) for x in session.run(None, feed)]

    return run


def openvino_runner(path: str | os.PathLike[str], threads: int = 0) -> Runner:
    """Open a graph in OpenVINO, on the CPU and in float32.

    By its own choice OpenVINO computes in bfloat16 on processors with AMX.
    """
    openvino = extra_library('export', 'openvino', 'Running an ONNX graph')
    settings = dict(
        INFERENCE_PRECISION_HINT='f32',
        PERFORMANCE_HINT='LATENCY',
        INFERENCE_NUM_THREADS=threads or torch.get_num_threads(),
    )
    compiled = openvino.Core().compile_model(str(Path(path)), 'CPU', settings)
    request = compiled.create_infer_request()

    def run(*inputs: Tensor) -> list[Tensor]:
        found = request.infer([x.numpy() for x in inputs])
        return [torch.from_numpy(found[output].copy()) for output in compiled.outputs]

    return run
