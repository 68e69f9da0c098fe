"""Programs for PyTorch: the same numbers, in a process without MMDetection."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS

from rs4d.export.checking import compare_detections, compare_maps
from rs4d.export.parts import build_part
from rs4d.export.program import export_program, load_program, save_program
from rs4d.ops import available_engines
from rs4d.ops.cpu import blocks

needs_kernels = pytest.mark.skipif(
    not available_engines()['cpu'].available, reason='needs the C++ kernels'
)
ALONE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmdet', 'mmengine', 'mmcv'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Absent())
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.split('.')[0] in ('mmdet', 'mmengine', 'mmcv') else find_spec(name, package)
)
import torch
import rs4d.ops

folder = sys.argv[1]
image = torch.load(f'{folder}/image.pt')
with torch.inference_mode():
    maps = torch.export.load(f'{folder}/encoder.pt2').module()(image)
torch.save(list(maps), f'{folder}/maps.pt')
loaded = {name.split('.')[0] for name in sys.modules}
assert not loaded & {'mmdet', 'mmengine', 'mmcv'}
"""


def test_an_encoder_runs_where_there_is_no_mmdetection(light, tmp_path: Path) -> None:
    part = build_part(light.model, 'encoder')
    inputs = part.example(64, 96)
    save_program(export_program(part, inputs), tmp_path / 'encoder.pt2')
    torch.save(inputs[0], tmp_path / 'image.pt')
    subprocess.run([sys.executable, '-c', ALONE, str(tmp_path)], check=True)
    maps = torch.load(tmp_path / 'maps.pt')
    with torch.inference_mode():
        expected = part(*inputs)
    for got, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


@needs_kernels
def test_blocks_are_one_operator(light) -> None:
    part = build_part(light.model, 'encoder')
    program = export_program(part, part.example(64, 64))
    called = [str(node.target) for node in program.graph.nodes if node.op == 'call_function']
    assert called.count('rs4d.mix_blocks_cpu.default') == 1


def test_any_size_and_number(light, tmp_path: Path) -> None:
    part = build_part(light.model, 'encoder+neck')
    program = export_program(part, part.example(64, 64, batch=2), dynamic=True)
    save_program(program, tmp_path / 'encoder.pt2')
    run = load_program(tmp_path / 'encoder.pt2')
    divisor = part.divisor
    for images, height, width in ((1, 64, 64), (3, 4 * divisor, 2 * divisor)):
        inputs = part.example(height, width, images)
        assert compare_maps(part, run, inputs).error < 1e-5


def test_a_detector_at_any_size(light, tmp_path: Path) -> None:
    """Levels that had fewer cells than candidates at the size of the export have more at others."""
    part = build_part(light.model, 'model')
    save_program(export_program(part, part.example(64, 64), dynamic=True), tmp_path / 'm.pt2')
    run = load_program(tmp_path / 'm.pt2')
    for height, width in ((64, 64), (64, 128), (256, 192)):
        found = compare_detections(light.model, part, run, part.example(height, width))
        assert found.of_model == found.of_export > 3
        assert found.differing == 0
        assert found.same >= 0.8 * found.of_model


@needs_kernels
def test_in_bfloat16(light, tmp_path: Path) -> None:
    encoder = MODELS.build(
        dict(type='RSMamba', arch=dict(embed_dims=32, num_layers=2, inner_dims=48), img_size=64)
    )
    model = torch.nn.Module()
    model.backbone, model.data_preprocessor = encoder, light.model.data_preprocessor
    exact = build_part(model, 'encoder')
    inputs = exact.example(64, 64)
    with torch.inference_mode():
        (expected,) = exact(*inputs)
    exact.compute_in(torch.bfloat16)
    (got,) = export_program(exact, inputs).module()(*inputs)
    assert got.dtype == torch.float32
    assert (got - expected).norm() < 0.05 * expected.norm()


def test_detections(detector, tmp_path: Path) -> None:
    part = build_part(detector.model, 'model')
    inputs = part.example(64, 64)
    save_program(export_program(part, inputs), tmp_path / 'model.pt2')
    found = compare_detections(detector.model, part, load_program(tmp_path / 'model.pt2'), inputs)
    assert found.of_model == found.of_export == found.same > 3


def test_a_program_with_the_kernels_runs_where_they_were_not_built(light, monkeypatch) -> None:
    part = build_part(light.model, 'encoder')
    inputs = part.example(64, 96, batch=2)
    program = export_program(part, inputs).module()
    with torch.inference_mode():
        expected = part(*inputs)
        monkeypatch.setattr(blocks, 'unavailable_reason', lambda: 'they were not built')
        found = program(*inputs)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
