"""The Triton engine without a GPU: its interpreter, its compiler, and where Triton is absent."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rs4d.ops.registry import ENGINES
from rs4d.ops.triton.scan import BACKWARD_CHUNK, FORWARD_CHUNK

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec('triton') is None, reason='Triton is not installed'
)
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
KERNELS = {
    'chunk_states': dict(CHUNK=FORWARD_CHUNK, STATES=16, CHANNELS=32, ADJOINT=0),
    'chunk_states_adjoint': dict(CHUNK=BACKWARD_CHUNK, STATES=16, CHANNELS=32, ADJOINT=1),
    'carry_states': dict(GROUP=16, ELEMENTS=32, ADJOINT=0),
    'chunk_outputs': dict(CHUNK=FORWARD_CHUNK, STATES=16, CHANNELS=32, HAS_D=True),
    'chunk_gradients': dict(CHUNK=BACKWARD_CHUNK, CHANNELS=32, HAS_D=True),
}


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason='they run by themselves under TRITON_INTERPRET=1')
def test_interpreted() -> None:
    tests = Path(__file__).with_name('test_triton_interpreted.py')
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', str(tests)],
        env=os.environ | {'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert 'skipped' not in run.stdout.splitlines()[-1], run.stdout


def compile_kernel(name: str, capability: int, folder: Path) -> Path:
    """Compile a kernel as the engine launches it, to a file of machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernels = importlib.import_module('rs4d.ops.triton.kernels')
    kernel = getattr(kernels, name.removesuffix('_adjoint'))
    constants = KERNELS[name]
    integers = {'batch', 'length', 'chunks', 'channels', 'num_states', 'reverse'}
    signature, aligned = {}, {}
    for index, argument in enumerate(kernel.arg_names):
        if argument in constants:
            signature[argument] = 'constexpr'
        elif argument in integers or argument.endswith(('_direction', '_batch', '_row')):
            signature[argument] = 'i32'
        else:
            signature[argument] = '*fp32'
            aligned[(index,)] = [['tt.divisibility', 16]]
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget('cuda', capability, 32),
        options={'num_warps': 1, 'enable_fp_fusion': True},
    )
    file = folder / f'{name}_sm{capability}.cubin'
    file.write_bytes(compiled.asm['cubin'])
    return file


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason='the interpreter compiles nothing')
@pytest.mark.parametrize('capability', [80, 90])
def test_compiles_without_a_gpu(
    capability: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The compiler's own interface was another one before.
    triton = pytest.importorskip('triton', minversion='3.3')
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path / 'cache'))
    cuobjdump = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    lines = []
    for name in KERNELS:
        cubin = compile_kernel(name, capability, tmp_path)
        assert cubin.read_bytes()[:4] == b'\x7fELF'
        if not cuobjdump.is_file():
            continue
        usage = subprocess.run(
            [str(cuobjdump), '--dump-resource-usage', str(cubin)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        registers, spilled = (
            int(re.search(rf'{key}:(\d+)', usage).group(1)) for key in ('REG', 'STACK')
        )
        lines.append(
            f'sm_{capability} {name}: {registers} registers, {spilled} bytes spilled to the stack'
        )
        assert registers <= 255
        assert spilled == 0, lines[-1]
    with capsys.disabled():
        sys.stdout.write('\n' + '\n'.join(lines) + '\n')


@pytest.mark.skipif(INTERPRETED, reason='looks at the engine as it is without the interpreter')
def test_takes_gpu_tensors_only() -> None:
    assert "not on 'cpu'" in ENGINES['triton'].unsupported_reason(torch.zeros(1))


ABSENT = """
import importlib.util
import sys

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == 'triton' else find_spec(name, *rest)
import importlib
engine = importlib.import_module('rs4d.ops.triton')
assert 'pip install triton' in engine.unavailable_reason()
assert 'rs4d.ops.triton.kernels' not in sys.modules
"""


def test_import_without_triton() -> None:
    run = subprocess.run(
        [sys.executable, '-c', ABSENT], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
