"""The library of custom operators for ONNX Runtime, built from sources that come with the package."""

import os
import subprocess
import tempfile
from pathlib import Path
from shutil import which

from rs4d.errors import UserError
from rs4d.files import write_bytes

INCLUDE_VARIABLE = 'RS4D_ONNXRUNTIME_INCLUDE'
HEADER = 'onnxruntime_c_api.h'
_PACKAGE = Path(__file__).parents[1]
_KERNELS = _PACKAGE / 'ops' / 'cpu' / 'csrc'
_OPERATORS = _PACKAGE / 'export' / 'csrc' / 'onnxruntime_ops.cpp'
# Where Debian's libonnxruntime-dev and the archives of ONNX Runtime's releases have it.
_INCLUDES = (
    '/usr/include/onnxruntime',
    '/usr/include/onnxruntime/core/session',
    '/usr/local/include/onnxruntime',
    '/usr/local/include/onnxruntime/core/session',
    '/usr/local/include',
)
_FLAGS = ('-O3', '-fvisibility=hidden', '-fPIC', '-shared')


class CustomOpError(UserError, RuntimeError):
    """The library of custom operators could not be built."""


def find_headers(folder: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder of ONNX Runtime's C header.

    Args:
        folder: Where it is, if that is known; otherwise ``RS4D_ONNXRUNTIME_INCLUDE`` says it, or it is
            looked for where packages put it.

    Raises:
        CustomOpError: It is not there.
    """
    named = folder or os.environ.get(INCLUDE_VARIABLE)
    for place in [named] if named else _INCLUDES:
        for inner in ('.', 'onnxruntime', 'core/session', 'onnxruntime/core/session'):
            if (Path(place) / inner / HEADER).is_file():
                return (Path(place) / inner).resolve()
    where = named or ', '.join(_INCLUDES)
    raise CustomOpError(
        f"{HEADER} is not in {where}. Install ONNX Runtime's headers (Debian's libonnxruntime-dev, or "
        'the archive of a release) and name their folder by --onnxruntime-include or '
        f'{INCLUDE_VARIABLE}.'
    )


def build_custom_ops(
    path: str | os.PathLike[str], headers: str | os.PathLike[str] | None = None
) -> None:
    """Compile the library for this machine.

    Args:
        path: The file to write, such as ``librs4d_onnxruntime.so``.
        headers: See `find_headers`.

    Raises:
        CustomOpError: There is no compiler, there are no headers, or it does not compile.
    """
    include = find_headers(headers)
    compiler = os.environ.get('CXX') or which('g++') or which('clang++')
    if compiler is None:
        raise CustomOpError('There is no C++ compiler here. Install g++ or clang++, or set CXX.')
    sources = [_OPERATORS, *sorted(_KERNELS.glob('*.cpp'))]
    flags = (*_FLAGS, *(_KERNELS / 'compile_flags.txt').read_text().split())
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / 'library.so'
        command = [compiler, *flags, f'-I{include}', f'-I{_KERNELS}', *map(str, sources)]
        done = subprocess.run(
            [*command, '-o', str(library)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CustomOpError(
                f'{compiler} could not compile the custom operators: {done.stderr.strip()[-2000:]}'
            )
        write_bytes(path, library.read_bytes())
    Path(path).chmod(0o755)
