"""MMEngine's ways to a checkpoint, each ending in the safe reading."""

import functools
from collections.abc import Callable
from typing import Any

from mmengine.runner import CheckpointLoader

from rs4d.compat import read_mmengine_checkpoints_with
from rs4d.errors import UserError

from .errors import CheckpointNotFoundError
from .reading import MapLocation, read_checkpoint


def _explaining(loader: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(loader)
    def load(filename: str, map_location: MapLocation = None) -> Any:
        try:
            return loader(filename, map_location)
        except (OSError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            known = isinstance(error, KeyError)
            reason = 'MMEngine knows no such model' if known else error
            raise CheckpointNotFoundError(
                f"The checkpoint '{filename}' cannot be had ({reason}). Check the address or the path "
                'and the connection, or download it by hand and give its path.'
            ) from error

    return load


def register_loaders() -> None:
    """Let MMEngine read checkpoints as data, and say in a sentence which one it cannot have."""
    read_mmengine_checkpoints_with(read_checkpoint)
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        CheckpointLoader.register_scheme(prefix, _explaining(loader), force=True)
