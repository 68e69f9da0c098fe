"""Predicting imports no package that it does not call."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

LOADED = """
import sys

import rs4d
from rs4d.cli import predict
from rs4d.geo import layers
from rs4d.inference import Predictor, running

print(*{name.split('.')[0] for name in sys.modules})
import numba
"""
# Each takes tens of megabytes; those behind pyogrio come when a layer is written.
HEAVY = {
    'numba',
    'llvmlite',
    'imagecorruptions',
    'pyogrio',
    'geopandas',
    'pandas',
    'pyarrow',
    'onnx',
    'onnxscript',
    'onnxruntime',
    'openvino',
    'altair',
}


def test_predicting_imports_nothing_heavy_that_it_does_not_call() -> None:
    run = subprocess.run(
        [sys.executable, '-c', LOADED], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.splitlines()[-1].split())
    assert 'mmdet' in loaded
    assert not loaded & HEAVY


def test_mmdetection_does_not_call_what_is_kept_from_it() -> None:
    package = importlib.util.find_spec('mmdet')
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent
    importing = [file for file in folder.rglob('*.py') if 'imagecorruptions' in file.read_text()]
    # Its tools are none of the package.
    importing = [file for file in importing if '.mim' not in file.parts]
    assert [file.name for file in importing] == ['transforms.py'], (
        'the patch can go, or has more to do'
    )
    tree = ast.parse(importing[0].read_text())
    used = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == 'corrupt']
    # The assignment where it is not installed.
    assert [type(name.ctx) for name in used] == [ast.Store]
