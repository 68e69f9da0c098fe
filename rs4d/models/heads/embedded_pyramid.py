"""A neck's pyramid with the encoder's own embedding beside it."""

from collections.abc import Iterable

from torch import Tensor


class EmbeddedPyramid(tuple[Tensor, ...]):
    """The maps of a neck, finest first, that also carry the encoder's last map.

    It is a tuple of the neck's maps and nothing else to whoever does not ask, so that MMDetection's
    RPN and box heads take it as it is. Slices are plain tuples.

    Args:
        maps: The neck's levels, (B, C, H_i, W_i) each.
        embedding: The encoder's last map, (B, C_e, h, w).

    Attributes:
        embedding: The encoder's last map.
    """

    embedding: Tensor

    def __new__(cls, maps: Iterable[Tensor], embedding: Tensor) -> 'EmbeddedPyramid':
        """Make the tuple; a tuple's items are set before ``__init__``."""
        pyramid = super().__new__(cls, maps)
        pyramid.embedding = embedding
        return pyramid
