"""``init_cfg=dict(type='Pretrained', ...)``, with an account of what was loaded."""

from typing import Any

from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_state_dict
from torch import Tensor, nn

from rs4d.errors import some

from .errors import CheckpointMismatchError
from .foreign import part_of
from .load_report import logged_load
from .reading import TRAINERS, WRAPPERS, state_dict_of


def pretrained_weights(
    module: nn.Module, path: str, prefix: str | None = None, map_location: Any = 'cpu'
) -> dict[str, Tensor]:
    """Read the weights that an ``init_cfg`` asks for.

    Args:
        module: Will take the weights.
        path: A path or one of MMEngine's addresses.
        prefix: What the names of the part wanted start with, such as ``'student.'``. It does not
            matter for a file that holds the part alone.
        map_location: Where tensors go.

    Returns:
        Tensors by the part's own names.

    Raises:
        CheckpointNotFoundError: The file is not there.
        CheckpointMismatchError: It cannot be read, or nothing of it has the prefix.
    """
    content = CheckpointLoader.load_checkpoint(path, map_location, logger='silent')
    own = module.state_dict().keys()
    for wrappers in (TRAINERS, WRAPPERS):
        found = state_dict_of(content, path, wrappers)
        weights = part_of(found, prefix) if prefix else found
        if own & weights.keys():
            return weights
    if not weights and own <= found.keys():
        return found
    if not weights:
        starts = sorted({name.split('.')[0] for name in found})
        raise CheckpointMismatchError(
            f"The checkpoint '{path}' has no weights that start with prefix='{prefix}'; its names "
            f'start with {some(starts, 8)}. Set init_cfg.prefix to the one wanted, or leave it out.'
        )
    return weights


# In place of MMEngine's, in the registry that every scope falls back to.
@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class LoggedPretrainedInit(PretrainedInit):
    """Load a checkpoint into a module, log what fitted, and refuse one of which nothing does.

    Args:
        checkpoint: A path or one of MMEngine's addresses.
        prefix: As for :func:`pretrained_weights`.
        map_location: Where tensors are loaded to.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the checkpoint, with the errors of :func:`pretrained_weights`."""
        weights = pretrained_weights(module, self.checkpoint, self.prefix, self.map_location)
        source = f'{self.checkpoint} ({self.prefix}*)' if self.prefix else self.checkpoint
        with logged_load(module, source):
            load_state_dict(module, weights, strict=False, logger='silent')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
