"""A network that is looked at and never trained, saved or copied."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from torch import Tensor

from rs4d.errors import ConfigError
from rs4d.models.backbones.encoder import input_bands

from .encoder_maps import block_channels, encode_blocks

DTYPES = ('float32', 'float16', 'bfloat16')


class FrozenTeacher:
    """Hold an encoder outside of the module that uses it.

    It is no ``nn.Module``: its owner's ``parameters()`` and ``state_dict()`` do not know it, so that
    optimisers, checkpoints and weight averaging leave it alone. It loads its weights when first
    asked to, and follows the device of what it is given.

    Args:
        cfg: Config of an encoder with ``embed_dims`` that returns a tuple of maps.
        dtype: In what the weights are held and, unless autocasting says otherwise, the network runs:
            ``'float32'``, or ``'float16'`` or ``'bfloat16'`` for half of the memory.

    Raises:
        ConfigError: If the dtype is none of these.
    """

    def __init__(self, cfg: dict[str, Any], dtype: str = 'float32') -> None:
        if dtype not in DTYPES:
            raise ConfigError(
                f'FrozenTeacher: dtype {dtype!r} is none of {", ".join(DTYPES)}. Correct teacher_dtype '
                "in the distiller's config."
            )
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.encoder = MODELS.build(cfg)
        self.encoder.requires_grad_(False)
        self.encoder.eval()
        self._loaded = False

    def channels(self, block: int | None) -> int:
        """Channels of the map of a block, or of the last map (None).

        Raises:
            ConfigError: The encoder has no such block.
        """
        return block_channels(self.encoder, block)

    @property
    def num_bands(self) -> int | None:
        """How many channels it takes, None if that is not known."""
        return input_bands(self.encoder)

    def load(self) -> None:
        """Load the weights that the config names, once.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is of another model.
        """
        if self._loaded:
            return
        self._loaded = True
        if not any(getattr(self.encoder, name, None) for name in ('checkpoint', 'init_cfg')):
            MMLogger.get_current_instance().warning(
                f'The teacher {type(self.encoder).__name__} has random weights: its config names no '
                'checkpoint. A student learns nothing of use from it.'
            )
        self.encoder.init_weights()
        self.encoder.to(self.dtype).eval()

    @torch.no_grad()
    def maps(self, img: Tensor, blocks: Sequence[int] = ()) -> dict[str, Tensor]:
        """Encode images (B, bands, H, W), normalised as the teacher was trained.

        Returns:
            ``'embedding'``, the last map (B, embed_dims, H', W'), and ``'block<i>'`` for each block.
        """
        self.load()
        self.encoder.to(img.device)
        return encode_blocks(self.encoder, img.to(self.dtype), blocks)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'FrozenTeacher':
        # A copy of the owner, as an average of its weights makes one, shares the teacher.
        return self
