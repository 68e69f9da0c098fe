"""Parts of Markdown pages that commands write: what stands between two comments."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Marks:
    """Two lines between which a part of a page is written anew.

    Attributes:
        begin: The line before it.
        end: The line behind it.
    """

    begin: str
    end: str

    def split(self, text: str) -> tuple[str, str, str] | None:
        """Split a page into what is before, between and behind the lines.

        Returns:
            None unless both lines are there, once and in this order: with one of them twice, what
            stands between the two would be lost.
        """
        before, begin, rest = text.partition(self.begin)
        inside, end, after = rest.partition(self.end)
        once = text.count(self.begin) == 1 and text.count(self.end) == 1
        return (before, inside, after) if begin and end and once else None

    def fill(self, text: str, part: str) -> str | None:
        """Put a part in the place of what stands between the lines; None as `split` returns it."""
        found = self.split(text)
        return found and f'{found[0]}{self.begin}\n\n{part}\n\n{self.end}{found[2]}'
