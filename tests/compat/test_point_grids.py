"""Points are MMDetection's, without PyTorch's warning."""

import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator, point_generator


@pytest.fixture
def theirs() -> Iterator[Any]:
    """MMDetection's class as it is without the patch."""
    spec = importlib.util.spec_from_file_location('unpatched', point_generator.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__package__ = point_generator.__package__
    source = spec.loader.get_source('unpatched')  # type: ignore[attr-defined]
    # It registers its classes, which are registered already.
    exec(source.replace('@TASK_UTILS.register_module()', ''), vars(module))
    torch.set_warn_always(True)  # PyTorch warns once in a process
    yield module.MlvlPointGenerator
    torch.set_warn_always(False)


@pytest.mark.parametrize('row_major', [True, False])
def test_points_and_warnings(theirs: Any, row_major: bool) -> None:
    x, y = torch.arange(3.0), torch.arange(5.0)
    with pytest.warns(UserWarning, match='meshgrid'):  # else the patch is no longer needed
        expected = theirs([8])._meshgrid(x, y, row_major)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = MlvlPointGenerator([8])._meshgrid(x, y, row_major)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
