"""The optional C++ kernels; everything else about the package is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = Path('rs4d/ops/cpu/csrc')
# Contraction to fused multiply-adds; none of the flags loosens NaN or infinity. What else compiles the
# kernels takes them, too: the Makefile, and the operators for ONNX Runtime.
FLAGS = SOURCES / 'compile_flags.txt'


class BuildKernels(build_ext):
    """Builds a plain shared library: it is loaded by ctypes and fits any Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the library's path without Python's version in its name."""
        return str(Path(*fullname.split('.')).with_suffix('.so'))

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Return none: there is no module init function to export."""
        return []


class KernelWheel(bdist_wheel):
    """Tags the wheel by what is in it: the kernels fit any Python 3, but one kind of machine."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags for Python, ABI and platform."""
        build = self.get_finalized_command('build_ext')
        library = Path(build.build_lib, build.get_ext_filename('rs4d.ops._cpu_kernels'))
        return 'py3', 'none', super().get_tag()[2] if library.is_file() else 'any'


setup(
    ext_modules=[
        Extension(
            'rs4d.ops._cpu_kernels',
            sources=sorted(map(str, SOURCES.glob('*.cpp'))),
            depends=sorted(map(str, [*SOURCES.glob('*.h'), FLAGS])),
            language='c++',
            extra_compile_args=['-O3', '-fvisibility=hidden', *FLAGS.read_text().split()],
            extra_link_args=['-pthread'],
            # Without a compiler the install succeeds, and the scan takes another engine.
            optional=True,
        )
    ],
    cmdclass={'build_ext': BuildKernels, 'bdist_wheel': KernelWheel},
)
