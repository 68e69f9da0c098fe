"""``init_cfg=dict(type='Pretrained', ...)``, with an account of what was loaded."""

from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from .encoder_files import check_header, read_header
from .errors import CheckpointMismatchError
from .load_report import logged_load
from .reading import state_dict_of


# In place of MMEngine's, in the registry that every scope falls back to.
@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class LoggedPretrainedInit(PretrainedInit):
    """Load a checkpoint into a module, log what fitted, and refuse one of which nothing does.

    A safetensors file with an encoder's header has the encoder's own names, so ``prefix`` does not
    apply to it; its architecture has to be the module's.

    Args:
        checkpoint: A path or one of MMEngine's addresses.
        prefix: What the names of the part wanted start with, such as ``'student.'``.
        map_location: Where tensors are loaded to.

    Raises:
        CheckpointMismatchError: From the call: nothing fits, or the header names another
            architecture.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the checkpoint.

        Args:
            module: Takes the weights.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: It cannot be read, nothing of it fits, or its header names
                another architecture.
        """
        prefix = self.prefix
        header = None if '://' in self.checkpoint else read_header(self.checkpoint)
        if header is not None:
            check_header(module, header, self.checkpoint)
            if prefix:
                print_log(
                    f"'{self.checkpoint}' holds an encoder alone, so prefix='{prefix}' is not used.",
                    logger='current',
                )
            prefix = None
        content = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location)
        weights = state_dict_of(content, self.checkpoint)
        source = self.checkpoint
        if prefix:
            prefix = prefix if prefix.endswith('.') else f'{prefix}.'
            starts = sorted({name.split('.')[0] for name in weights})
            weights = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
            source = f'{source} ({prefix}*)'
            if not weights:
                raise CheckpointMismatchError(
                    f"The checkpoint '{self.checkpoint}' has no weights that start with "
                    f"prefix='{prefix}'; its names start with {', '.join(starts[:8])}. Set "
                    'init_cfg.prefix to the one wanted, or leave it out.'
                )
        with logged_load(module, source):
            load_state_dict(module, weights, strict=False, logger='current')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
