"""Fixtures for all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import rs4d  # noqa: F401 - registers everything with MMDetection


@pytest.fixture(scope='session')
def data_root() -> Callable[[str], Path]:
    """Return a function from a data set's folder name to its path; it skips where that is absent."""
    root = Path(os.environ.get('RS4D_DATA_ROOT', 'data'))

    def find(name: str) -> Path:
        path = root / name
        if not path.is_dir():
            pytest.skip(f'needs real data in {name}/ under RS4D_DATA_ROOT')
        return path

    return find
