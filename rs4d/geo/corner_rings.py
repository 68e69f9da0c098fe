"""Outlines of masks by the corners of their pixels."""

import numpy as np

# The four pixels around a corner of the pixel grid are bits: upper left 1, upper right 2, lower left 4,
# lower right 8. An outline turns where one or three of them are inside, and twice where two are that
# touch at the corner alone.
_FALLING, _RISING = 1 + 8, 2 + 4
_TURNS = np.array([bin(code).count('1') % 2 for code in range(16)])
_TURNS[[_FALLING, _RISING]] = 2
_HOLE = 1 + 2 + 4
"""What is around the first corner of a hole, from above and from the left."""


def outer_rings(mask: np.ndarray) -> list[np.ndarray] | None:
    """Trace the outline of a mask along the edges of its pixels.

    Of the corners in a row of the grid, each two are joined by an edge, the first with the second, the
    third with the fourth; so are those in a column. Pixels that touch at a corner alone have outlines
    of their own there.

    Args:
        mask: (H, W) bool.

    Returns:
        The corners of each ring, (N, 2), x and y, not closed; None if the mask has a hole. A ring may
        meet itself in a corner.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    around = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, :-1] + 8 * padded[1:, 1:]
    codes = around.ravel()
    at: np.ndarray = np.flatnonzero(_TURNS[codes])
    at = np.repeat(at, _TURNS[codes[at]])
    codes = codes[at]
    second = np.append(False, at[1:] == at[:-1])
    rows, cols = np.divmod(at, around.shape[1])
    # In a row the corner of the left pixel comes first, in a column that of the upper one.
    lower = np.where(codes == _RISING, ~second, second)
    down = np.lexsort((lower, rows, cols))
    beside = np.arange(len(at)) ^ 1
    below = np.empty_like(beside)
    below[down] = down[beside]
    rings = _follow(beside.tolist(), below.tolist())
    if any(codes[ring[0]] == _HOLE for ring in rings):
        return None
    corners = np.stack([cols, rows], axis=1)
    return [corners[ring] for ring in rings]


def _follow(beside: list[int], below: list[int]) -> list[list[int]]:
    """Go along edges, by turns in a row and in a column, until each corner has been passed."""
    rings = []
    passed = [False] * len(beside)
    for first in range(len(beside)):
        ring: list[int] = []
        corner = first
        while not passed[corner]:
            other = beside[corner]
            passed[corner] = passed[other] = True
            ring += [corner, other]
            corner = below[other]
        if ring:
            rings.append(ring)
    return rings
