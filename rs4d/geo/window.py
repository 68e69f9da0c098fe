"""Windows of a raster, in whole pixels, and grids of them."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: rows ``row .. row + height``, columns ``col .. col + width``."""

    row: int
    col: int
    height: int
    width: int

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom edge in pixels, (x0, y0, x1, y1)."""
        return self.col, self.row, self.col + self.width, self.row + self.height

    def grown(self, margin: int) -> 'Window':
        """The window with ``margin`` pixels more on each side; it may reach over the raster's edge."""
        return Window(
            self.row - margin, self.col - margin, self.height + 2 * margin, self.width + 2 * margin
        )

    def clipped(self, height: int, width: int) -> 'Window':
        """The part that lies in a raster of ``height`` rows and ``width`` columns; may be empty."""
        row, col = min(max(self.row, 0), height), min(max(self.col, 0), width)
        bottom = min(max(self.row + self.height, row), height)
        right = min(max(self.col + self.width, col), width)
        return Window(row, col, bottom - row, right - col)

    def contains(self, x: float, y: float) -> bool:
        """Whether a point lies in the window; the left and upper edges belong to it, the others not.

        So each point of a raster lies in one window of a grid without overlap.
        """
        x0, y0, x1, y1 = self.bounds
        return x0 <= x < x1 and y0 <= y < y1


def grid(height: int, width: int, size: int, overlap: int = 0) -> Iterator[Window]:
    """Windows of ``size`` pixels that cover a raster, row by row.

    The last of a row or column moves inwards to end at the raster's edge, so that all have the same
    size; a raster smaller than ``size`` has one window of its own size in that direction.

    Args:
        height: Rows of the raster.
        width: Columns of the raster.
        size: Side of a window in pixels.
        overlap: Pixels that neighbours share, at least; less than ``size``.
    """
    for row in starts(height, size, overlap):
        for col in starts(width, size, overlap):
            yield Window(row, col, min(size, height), min(size, width))


def starts(length: int, size: int, overlap: int = 0) -> list[int]:
    """Where the windows of `grid` begin in one direction of ``length`` pixels.

    Raises:
        ValueError: ``size`` is not above 0, or ``overlap`` is negative or not below ``size``.
    """
    if size <= 0 or not 0 <= overlap < size:
        raise ValueError(f'size {size} and overlap {overlap}: need size > overlap >= 0.')
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]
