"""Study files written by tests."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a study's file and returns its path."""

    def call(text: str, name: str = 'tiny') -> str:
        file = tmp_path / f'{name}.yaml'
        file.write_text(text)
        return str(file)

    return call
