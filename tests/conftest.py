"""Fixtures for all tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

import rs4d  # noqa: F401 - registers everything with MMDetection


@pytest.fixture(autouse=True)
def _default_scope() -> Iterator[None]:
    """Take back the scope that a test's runner leaves, in which names of configs mean other things."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


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
