"""A detector small enough for tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from rs4d.config import load_config


@pytest.fixture(autouse=True)
def _mmdet_scope() -> Iterator[None]:
    """Look types up as a config with ``default_scope = 'mmdet'`` does."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def tiny_detector() -> ConfigDict:
    """Mask R-CNN on a small RSMamba, as a config's ``model``."""
    return load_config(Path(__file__).parents[1] / 'tools' / 'tiny_config.py').model
