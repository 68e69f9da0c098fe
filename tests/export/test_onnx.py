"""ONNX graphs in the runtimes that they are for."""

import errno
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from rs4d.config import load_config
from rs4d.export.about import describe
from rs4d.export.checking import compare_detections, compare_maps
from rs4d.export.custom_ops import CustomOpError, build_custom_ops, find_headers
from rs4d.export.onnx_functions import OPSET, BidirectionalScan, ConvSilu
from rs4d.export.onnx_graph import export_onnx
from rs4d.export.parts import build_part
from rs4d.export.runtimes import onnxruntime_runner, runners
from rs4d.files import FileWriteError
from rs4d.ops import bidirectional_conv_silu, bidirectional_selective_scan


def run_function(function, *inputs: torch.Tensor, **attributes: int) -> torch.Tensor:
    """Run one ONNX function in ONNX Runtime."""
    names = [f'x{index}' for index in range(len(inputs))]
    node = onnx.helper.make_node(function.name, names, ['y'], domain='rs4d', **attributes)
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, x.shape)
        for name, x in zip(names, inputs, strict=True)
    ]
    result = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, None)
    opsets = [onnx.helper.make_opsetid('', OPSET), onnx.helper.make_opsetid('rs4d', 1)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], 'one', values, [result]),
        functions=[function.to_function_proto()],
        opset_imports=opsets,
        ir_version=10,
    )
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, feed)[0])


@pytest.mark.parametrize('length', [1, 15, 16, 63, 200])
@pytest.mark.parametrize('large', [False, True], ids=['usual', 'large deltas'])
def test_scan_is_the_definition(length: int, large: bool) -> None:
    torch.manual_seed(0)
    batch, channels, states, rank = 2, 12, 5, 3
    u = torch.randn(2, batch, length, channels)
    projected = torch.randn(2, batch, length, rank + 2 * states) * (20 if large else 1)
    weight, A = torch.randn(rank, channels), -torch.rand(channels, states) * 16
    D, bias = torch.randn(channels), torch.randn(channels)
    tokens = torch.randn(batch, length, 2 * channels)
    inputs = (u, projected, weight, A, D, bias, tokens)
    got = run_function(BidirectionalScan, *inputs)
    dt, B, C = projected.double().split([rank, states, states], dim=-1)
    exact = [x.double() for x in (u, dt @ weight.double(), A, B, C, D, bias)]
    expected = bidirectional_selective_scan(
        *exact, tokens[..., channels:].double(), engine='reference'
    )
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_convolution_is_the_definition() -> None:
    torch.manual_seed(0)
    tokens, taps, bias = torch.randn(2, 9, 20), torch.randn(4, 7), torch.randn(7)
    got = run_function(ConvSilu, tokens, taps, bias, channels=7)
    expected = bidirectional_conv_silu(tokens[..., :7], taps.t(), bias, engine='reference')
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_encoder(light, tmp_path: Path) -> None:
    part = build_part(light.model, 'encoder')
    inputs = part.example(64, 96)
    path = tmp_path / 'encoder.onnx'
    export_onnx(part, inputs, path)
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(str(path))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', OPSET)]
    assert path.stat().st_size < 200_000
    for name, run in runners(path).items():
        assert compare_maps(part, run, inputs).error <= 1e-4, name


def test_any_size_and_number(light, tmp_path: Path) -> None:
    part = build_part(light.model, 'encoder+neck')
    export_onnx(part, part.example(64, 64, batch=2), tmp_path / 'maps.onnx', dynamic=True)
    for name, run in runners(tmp_path / 'maps.onnx').items():
        for images, height, width in ((1, 64, 64), (3, 4 * part.divisor, 2 * part.divisor)):
            inputs = part.example(height, width, images)
            assert compare_maps(part, run, inputs).error <= 1e-4, name


def test_detections(detector, tmp_path: Path) -> None:
    part = build_part(detector.model, 'model')
    image, _ = part.example(64, 64)
    export_onnx(part, (image, torch.tensor([64, 64])), tmp_path / 'model.onnx')
    for name, run in runners(tmp_path / 'model.onnx').items():
        found = compare_detections(detector.model, part, run, (image, torch.tensor([50, 61])))
        # Of random weights many boxes are alike, and rounding decides which of two is suppressed.
        assert found.same >= 0.95 * found.of_model > 3, (name, found)


def test_script_of_the_docs(light, docs_script, tmp_path: Path, monkeypatch, capsys) -> None:
    part = build_part(light.model, 'model')
    cfg = load_config(light.config, light.options)
    about = describe(cfg, light.checkpoint, light.model, part, (64, 64), False, '0')
    export_onnx(part, part.example(64, 64), tmp_path / 'model.onnx', about=about)
    picture = tmp_path / 'picture.png'
    values = np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)
    cv2.imwrite(str(picture), values)
    monkeypatch.setitem(docs_script, 'SCORE', 0.05)
    docs_script['main'](str(tmp_path / 'model.onnx'), str(picture), str(tmp_path / 'out.png'))
    found = cv2.imread(str(tmp_path / 'out.png'))
    assert found.shape == values.shape
    assert (found != values).any()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert {line.split()[0] for line in lines} <= {'house', 'pool', 'ship'}
    with pytest.raises(SystemExit, match='is not there'):
        docs_script['main'](str(tmp_path / 'model.onnx'), 'absent.png', 'x.png')


def test_written_whole_or_not_at_all(light, tmp_path: Path, monkeypatch) -> None:
    part = build_part(light.model, 'encoder')
    path = tmp_path / 'encoder.onnx'
    export_onnx(part, part.example(32, 32), path)
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert sorted(kept) == ['encoder.onnx', 'encoder.onnx.data']

    def full(self, target, **_):
        Path(f'{target}.data').write_bytes(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(torch.onnx.ONNXProgram, 'save', full)
    with pytest.raises(FileWriteError, match='No space left'):
        export_onnx(part, part.example(32, 32), path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == kept


def test_graph_that_calls_the_kernels(light, tmp_path: Path) -> None:
    part = build_part(light.model, 'encoder')
    inputs = part.example(64, 96)
    export_onnx(part, inputs, tmp_path / 'encoder.onnx', custom_ops=True)
    model = onnx.load(tmp_path / 'encoder.onnx', load_external_data=False)
    called = [node.op_type for node in model.graph.node if node.domain == 'rs4d']
    assert called == ['ConvSilu', 'BidirectionalScan'] * len(light.model.backbone.layers)
    try:
        find_headers()
    except CustomOpError as error:
        pytest.skip(str(error))
    build_custom_ops(tmp_path / 'operators.so')
    run = onnxruntime_runner(tmp_path / 'encoder.onnx', tmp_path / 'operators.so')
    assert compare_maps(part, run, inputs).error <= 1e-4


def test_missing_headers_are_said(tmp_path: Path) -> None:
    with pytest.raises(CustomOpError, match='libonnxruntime-dev'):
        find_headers(tmp_path)
