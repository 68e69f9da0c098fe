"""Fixtures for the tests of tensor operations."""

import os
from collections.abc import Iterator

import pytest
import torch

from rs4d.ops.cpu import library, unavailable_reason


def pytest_configure() -> None:
    """Refuse to skip the tests of kernels that are asked for by name."""
    if library.LIBRARY_VARIABLE in os.environ and (reason := unavailable_reason()):
        raise pytest.UsageError(reason)


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill what torch.empty returns with NaN, so that a forgotten write shows."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = fills
