"""Lines of others' packages that their user can do nothing about.

MMDetection's own start prints that it skips data sets of a company and metrics of an optional package,
and MMEngine warns of names that it uses itself, and tells at each start what is in the environment.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import mmengine.config.config
import mmengine.fileio.file_client
import mmengine.logging

NOISE = (
    'Could not import OneDL',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Using env variable',
)
# MMDetection's, on an optional package for metrics that no config here names.
WARNING = 'faster_coco_eval is not installed'


def without_noise(print_log: Callable[..., None]) -> Callable[..., None]:
    """Wrap MMEngine's ``print_log`` so that it leaves out what starts with one of :data:`NOISE`."""

    @functools.wraps(print_log)
    def quiet(msg: Any, *args: Any, **kwargs: Any) -> None:
        if not str(msg).startswith(NOISE):
            print_log(msg, *args, **kwargs)

    return quiet


def quiet_others() -> None:
    """Patch the three places; MMDetection takes the function from the first when it is imported."""
    warnings.filterwarnings('ignore', message=WARNING)
    for module in (mmengine.logging, mmengine.config.config, mmengine.fileio.file_client):
        if not hasattr(module.print_log, '__wrapped__'):
            module.print_log = without_noise(module.print_log)
