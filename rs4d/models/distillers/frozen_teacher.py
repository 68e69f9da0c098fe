"""A network that is looked at and never trained, saved or copied."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from torch import Tensor


class FrozenTeacher:
    """Hold an encoder outside of the module that uses it.

    It is no ``nn.Module``: its owner's ``parameters()`` and ``state_dict()`` do not know it, so that
    optimisers, checkpoints and weight averaging leave it alone. It loads its weights when first
    asked to, and follows the device of what it is given.

    Args:
        cfg: Config of an encoder with ``embed_dims`` that returns a tuple of maps.
    """

    def __init__(self, cfg: dict[str, Any]) -> None:
        self.encoder = MODELS.build(cfg)
        self.encoder.requires_grad_(False)
        self.encoder.eval()
        self._loaded = False

    @property
    def embed_dims(self) -> int:
        """Channels of the last map."""
        return self.encoder.embed_dims

    def load(self) -> None:
        """Load the weights that the config names, once.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is of another model.
        """
        if self._loaded:
            return
        self._loaded = True
        source = getattr(self.encoder, 'checkpoint', None) or getattr(
            self.encoder, 'init_cfg', None
        )
        if source is None:
            MMLogger.get_current_instance().warning(
                f'The teacher {type(self.encoder).__name__} has random weights: its config names no '
                'checkpoint. A student learns nothing of use from it.'
            )
        self.encoder.init_weights()
        self.encoder.eval()

    @torch.no_grad()
    def __call__(self, img: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) to the last map (B, embed_dims, H', W')."""
        self.load()
        self.encoder.to(img.device)
        return self.encoder(img)[-1]

    def __deepcopy__(self, memo: dict[int, Any]) -> 'FrozenTeacher':
        """A copy of the owner, as an average of its weights makes one, shares the teacher."""
        return self
