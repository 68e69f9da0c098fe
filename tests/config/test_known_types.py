"""What a config that came with a file may name."""

import pytest

import rs4d  # noqa: F401 - registers
from rs4d.config.known_types import STRETCHES, require_known_types
from rs4d.errors import ConfigError
from rs4d.geo import stretch


def test_stretches_are_those_that_are_built() -> None:
    assert set(stretch.STRETCHES) == STRETCHES


@pytest.mark.parametrize('kind', sorted(STRETCHES))
def test_a_stretch_of_a_loaded_raster_is_known(kind: str) -> None:
    require_known_types([dict(type='LoadRaster', stretch=dict(type=kind, low=0))], 'a.pth')


@pytest.mark.parametrize(
    'part',
    [
        dict(type='statistics'),  # a module of Python's
        dict(type='LoadRaster', stretch=dict(type='subprocess.call')),
        dict(type='LoadRaster', stretch=dict(type='linear', low=dict(type='subprocess.call'))),
        dict(type='LoadRaster', stretch=[dict(type='linear')]),
    ],
)
def test_all_else_is_refused(part: dict) -> None:
    with pytest.raises(ConfigError, match='is refused'):
        require_known_types(part, 'a.pth')
