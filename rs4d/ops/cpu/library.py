"""The compiled CPU kernels: the library, its structures and its threads.

The library has a plain C interface and is called through ctypes, which releases Python's lock
meanwhile. Its sources are in ``csrc``; its structures there and here have to match.
"""

import ctypes
import functools
import os
import time
from collections.abc import Callable
from ctypes import POINTER, byref, c_double, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

LIBRARY_VARIABLE = 'RS4D_CPU_KERNELS'
# That of kernels.cpp.
_ABI_VERSION = 4
# The types of sequences, in the order of simd.h.
_TYPES = (torch.float32, torch.bfloat16, torch.float16)
# The rows of states in memory are padded to whole vectors of any width.
_CHANNEL_PADDING = 32


class Rows(ctypes.Structure):
    """An array (batch, length, channels) with adjacent channels."""

    _fields_ = [('data', c_void_p), ('batch_stride', c_int64), ('row_stride', c_int64)]


class Direction(ctypes.Structure):
    """The inputs of one scan; ``boundaries`` and ``state`` may be null."""

    _fields_ = [
        ('u', Rows),
        ('delta', Rows),
        ('B', Rows),
        ('C', Rows),
        ('boundaries', c_void_p),
        ('state', c_void_p),
        ('reverse', c_int64),
    ]


class Scan(ctypes.Structure):
    """One or two scans with the same A, D and bias, added, scaled and gated."""

    _fields_ = [
        ('batch', c_int64),
        ('length', c_int64),
        ('channels', c_int64),
        ('states', c_int64),
        ('threads', c_int64),
        ('directions', c_int64),
        ('first', c_int64),
        ('last', c_int64),
        ('softplus', c_int64),
        ('scale', c_double),
        ('A', c_void_p),
        ('D', c_void_p),
        ('delta_bias', c_void_p),
        ('delta_rank', c_int64),
        ('delta_weight', c_void_p),
        ('type', c_int64),
        ('z', Rows),
        ('partial', Rows),
        ('direction', Direction * 2),
    ]


class DirectionGrads(ctypes.Structure):
    """Where the gradients of one scan's inputs go."""

    _fields_ = [('u', Rows), ('delta', Rows), ('B', c_void_p), ('C', c_void_p)]


class ScanGrads(ctypes.Structure):
    """The gradient of the output, and where those of the inputs go."""

    _fields_ = [
        ('blocks', c_int64),
        ('y', Rows),
        ('z', Rows),
        ('A', c_void_p),
        ('D', c_void_p),
        ('delta_bias', c_void_p),
        ('direction', DirectionGrads * 2),
    ]


class Conv(ctypes.Structure):
    """A depthwise convolution in both directions; weight is (taps, channels)."""

    _fields_ = [
        ('batch', c_int64),
        ('length', c_int64),
        ('channels', c_int64),
        ('taps', c_int64),
        ('threads', c_int64),
        ('x', Rows),
        ('weight', c_void_p),
        ('bias', c_void_p),
        ('forward', Rows),
        ('backward', Rows),
        ('first', c_int64),
        ('last', c_int64),
        ('type', c_int64),
    ]


class ConvGrads(ctypes.Structure):
    """Where the gradients of a convolution go; those of weight and bias as sums of row blocks."""

    _fields_ = [('x', Rows), ('weight', c_void_p), ('bias', c_void_p)]


def library_path() -> Path:
    """Return where the library is: in ``rs4d/ops``, or where ``RS4D_CPU_KERNELS`` says."""
    default = Path(__file__).parents[1] / '_cpu_kernels.so'
    return Path(os.environ.get(LIBRARY_VARIABLE) or default)


@functools.cache
def unavailable_reason() -> str | None:
    """Say why the kernels cannot be used here.

    Returns:
        One sentence with the remedy, or None if they can be used.
    """
    path = library_path()
    if not path.is_file():
        return (
            'the C++ kernels were not built when rs4d was installed. Install a C++ compiler (g++ or '
            "clang++) and install rs4d again; the compiler's messages are shown by "
            '"pip install -v".'
        )
    try:
        library()
    except OSError as error:
        return f'{path.name} cannot be loaded ({error}). Install rs4d again on this machine.'
    return None


@functools.cache
def library() -> ctypes.CDLL:
    """Load the kernels and hand them PyTorch's OpenMP threads.

    Returns:
        The library, its functions declared.

    Raises:
        OSError: If it is not there or does not fit this machine or this version of rs4d.
    """
    kernels = ctypes.CDLL(str(library_path()))
    version = getattr(kernels, 'rs4d_abi_version', None)
    if version is None or version() != _ABI_VERSION:
        raise OSError('it was built from other sources than those of this rs4d')
    declarations: dict[str, tuple[list[type], type | None]] = {
        'rs4d_set_parallel_entry': ([c_void_p], None),
        'rs4d_set_simd_level': ([c_int], c_int),
        'rs4d_simd_level': ([], c_int),
        'rs4d_chunk_steps': ([], c_int64),
        'rs4d_scan_blocks': ([POINTER(Scan)], c_int64),
        'rs4d_scan_forward': ([POINTER(Scan), POINTER(Rows)], c_int),
        'rs4d_scan_backward': ([POINTER(Scan), POINTER(ScanGrads)], c_int),
        'rs4d_conv_blocks': ([POINTER(Conv)], c_int64),
        'rs4d_conv_forward': ([POINTER(Conv)], c_int),
        'rs4d_conv_backward': ([POINTER(Conv), POINTER(ConvGrads)], c_int),
        'rs4d_exp_loop': ([c_int64, c_int64, c_int64], c_int),
        'rs4d_exp_buffer': ([], c_int64),
    }
    for name, (arguments, result) in declarations.items():
        function = getattr(kernels, name)
        function.argtypes, function.restype = arguments, result
    share_threads(kernels)
    return kernels


def share_threads(kernels: ctypes.CDLL) -> None:
    """Let the kernels run on the threads of PyTorch's OpenMP runtime, where there is one."""
    # PyTorch loads it into the global namespace.
    entry = getattr(ctypes.CDLL(None), 'GOMP_parallel', None)
    kernels.rs4d_set_parallel_entry(ctypes.cast(entry, c_void_p) if entry else None)


class _Process:
    forked = False


def _note_fork() -> None:
    _Process.forked = True


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_note_fork)


def num_threads() -> int:
    """Return PyTorch's number of threads; 1 in a forked process, which has lost its thread pool."""
    return 1 if _Process.forked else torch.get_num_threads()


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return memory on the CPU, whatever the default type and device."""
    return torch.empty(shape, dtype=dtype, device='cpu')


def contiguous(x: Tensor | None) -> Tensor | None:
    """Return a contiguous tensor, or None."""
    return None if x is None else x.contiguous()


def rows(x: Tensor | None) -> Rows:
    """Describe a tensor with adjacent channels to the kernels; the tensor has to outlive the call."""
    if x is None:
        return Rows(None, 0, 0)
    return Rows(x.data_ptr(), x.stride(0), x.stride(1))


def number_type(x: Tensor) -> int:
    """Return the kernels' number for a tensor's type."""
    return _TYPES.index(x.dtype)


def pointer(x: Tensor | None) -> int | None:
    """Return a contiguous tensor's address, or None."""
    return None if x is None else x.data_ptr()


def boundaries_size(u: Tensor, states: int) -> tuple[int, ...]:
    """Return the size of the states before each chunk of time, (S, B, chunks, N, D in whole vectors)."""
    directions, batch, length, channels = u.shape
    return directions, batch, -(-length // chunk_steps()), states, padded_channels(channels)


def padded_channels(channels: int) -> int:
    """Return the channels of states in memory: whole vectors of any width."""
    return -(-channels // _CHANNEL_PADDING) * _CHANNEL_PADDING


@functools.cache
def chunk_steps() -> int:
    """Return the steps of a chunk of time, which the kernels were compiled with."""
    return library().rs4d_chunk_steps()


def call(function: Callable[..., int], *structures: ctypes.Structure) -> None:
    """Call a kernel.

    Args:
        function: One of `library`.
        *structures: Passed by reference.

    Raises:
        MemoryError: If the kernel found no memory for its work space.
    """
    if function(*map(byref, structures)) != 0:
        raise MemoryError(
            'rs4d: a CPU kernel found no memory for its work space. Use a smaller batch or image, '
            'or fewer threads (torch.set_num_threads).'
        )


def exp_throughput(threads: int, rounds: int = 5) -> float:
    """Measure how many exponentials a second a tight loop takes, the bound of a scan's speed.

    The loop is vectorised as the scan is, uses the same exponential, and stays in the first-level
    cache.

    Args:
        threads: How many run it at once.
        rounds: The best of so many is taken.

    Returns:
        Exponentials a second of all threads together.
    """
    # Many tasks of a millisecond, so that a thread that wakes late still gets its share.
    kernels, tasks, repeats = library(), 16 * threads, 3000
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        kernels.rs4d_exp_loop(threads, tasks, repeats)
        seconds.append(time.perf_counter() - start)
    return tasks * repeats * kernels.rs4d_exp_buffer() / min(seconds)
