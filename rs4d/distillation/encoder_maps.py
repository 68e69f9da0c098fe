"""The maps inside of an encoder: by block, whatever the encoder's own way to name and give them."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rs4d.distillation.teacher_cache import EMBEDDING
from rs4d.models.backbones import SAMViT, TimmEncoder


def map_name(block: int | None) -> str:
    """Name of a teacher's map: ``'embedding'`` for the last (None), ``'block2'`` for block 2's."""
    return EMBEDDING if block is None else f'block{block}'


def encode_blocks(encoder: Any, img: Tensor, blocks: Sequence[int] = ()) -> dict[str, Tensor]:
    """Run an encoder and take the maps of some blocks beside its last map.

    Args:
        encoder: A `SAMViT`, whose last map is SAM's embedding and whose blocks need not be named in
            its config; or another encoder with ``out_indices``, which have to name the blocks.
        img: Normalised images (B, 3, H, W).
        blocks: The blocks, counted from 0.

    Returns:
        Maps (B, C, h, w) by their names: ``'embedding'``, and ``'block<i>'`` for each block.

    Raises:
        ValueError: The encoder has no such block, or does not return its map.
    """
    if isinstance(encoder, SAMViT) and encoder.out_indices is None and blocks:
        require_block(encoder, blocks)
        embedding, maps = encoder.vit.forward_intermediates(img, indices=sorted(set(blocks)))
        found = dict(zip(sorted(set(blocks)), maps, strict=True))
    else:
        maps = encoder(img)
        embedding = maps[-1]
        found = {block: maps[_position(encoder, block)] for block in blocks}
    return {EMBEDDING: embedding} | {map_name(block): found[block] for block in blocks}


def block_channels(encoder: Any, block: int | None) -> int:
    """Channels of an encoder's map.

    Args:
        encoder: As in `encode_blocks`.
        block: A block, counted from 0, or None for the last map.

    Returns:
        The number of channels.

    Raises:
        ValueError: The encoder has no such block, or does not return its map.
    """
    if block is None:
        return encoder.embed_dims
    if isinstance(encoder, SAMViT):
        require_block(encoder, [block])
        return encoder.vit.patch_embed.proj.out_channels
    _position(encoder, block)
    if isinstance(encoder, TimmEncoder):
        return encoder.model.feature_info[block]['num_chs']
    return encoder.embed_dims


def require_block(encoder: SAMViT, blocks: Sequence[int]) -> None:
    """Raise if SAM's encoder lacks one of the blocks.

    Args:
        encoder: The encoder.
        blocks: Counted from 0.

    Raises:
        ValueError: One of them is not there.
    """
    count = len(encoder.vit.blocks)
    wrong = [block for block in blocks if not 0 <= block < count]
    if wrong:
        raise ValueError(
            f'The losses of the distiller name the blocks {wrong} of the teacher, but its SAMViT has '
            f'the blocks 0 to {count - 1}. Correct model.losses in the config.'
        )


def _position(encoder: Any, block: int) -> int:
    """Where an encoder's tuple of maps has that of a block."""
    indices = tuple(getattr(encoder, 'out_indices', ()) or ())
    if block not in indices:
        raise ValueError(
            f'The losses of the distiller name block {block}, but the {type(encoder).__name__} returns '
            f'the maps of {list(indices) or "its last block alone"}. Name the block in its '
            'out_indices, or correct model.losses in the config.'
        )
    return indices.index(block)
