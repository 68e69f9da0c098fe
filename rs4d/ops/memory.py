"""Memory for large maps on the CPU."""

import mmap
from contextlib import suppress

import torch
from torch import Tensor

# Below this, the allocator reuses memory that it has.
_LARGE = 4 << 20


def empty(*shape: int) -> Tensor:
    """Return an uninitialised float32 tensor on the CPU, a large one in huge pages.

    A fresh map is faulted in page by page, and for one of some MiB that takes longer than a kernel
    takes to fill it. Huge pages, where the system has them, need one fault for 512 small pages.

    Args:
        *shape: Of the tensor.
    """
    size = 4 * torch.Size(shape).numel()
    if size < _LARGE or not hasattr(mmap, 'MADV_HUGEPAGE'):
        return torch.empty(shape, dtype=torch.float32, device='cpu')
    memory = mmap.mmap(-1, size)
    # A kernel without huge pages refuses; the memory is as good, only slower to get.
    with suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32).view(shape)
