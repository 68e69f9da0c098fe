"""The maps inside of an encoder, by block."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rs4d.errors import ConfigError
from rs4d.models.backbones import Encoder

from .teacher_cache import EMBEDDING


def map_name(block: int | None) -> str:
    """Name of a teacher's map: ``'embedding'`` for the last (None), ``'block2'`` for block 2's."""
    return EMBEDDING if block is None else f'block{block}'


def encode_blocks(encoder: Any, img: Tensor, blocks: Sequence[int] = ()) -> dict[str, Tensor]:
    """Run an encoder and take the maps of some blocks beside its last map.

    Args:
        encoder: An `Encoder`; without blocks, any module that returns a tuple of maps.
        img: Normalised images (B, 3, H, W).
        blocks: The blocks, counted from 0.

    Returns:
        Maps (B, C, h, w) by their names: ``'embedding'``, and ``'block<i>'`` for each block.
    """
    if not blocks:
        return {EMBEDDING: encoder(img)[-1]}
    order = sorted(set(blocks))
    embedding, maps = encoder.forward_intermediates(img, order)
    return {EMBEDDING: embedding} | dict(zip(map(map_name, order), maps, strict=True))


def block_channels(encoder: Any, block: int | None) -> int:
    """Channels of an encoder's map of a block, counted from 0, or of its last map (None).

    Raises:
        ConfigError: The encoder has no such block.
    """
    if block is None:
        return encoder.embed_dims
    count = len(encoder.block_channels) if isinstance(encoder, Encoder) else 0
    if not 0 <= block < count:
        raise ConfigError(
            f'The losses of the distiller name block {block}, but the {type(encoder).__name__} '
            f'{f"runs the blocks 0 to {count - 1}" if count else "gives the maps of none"}. Correct '
            "model.losses in the config, or the encoder's out_indices."
        )
    return encoder.block_channels[block]
