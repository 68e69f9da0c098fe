"""What was measured of a detector."""

from dataclasses import dataclass, field

from .detectors import Mode


@dataclass
class Record:
    """What was measured of a detector in one mode and precision.

    Attributes:
        model: Its name.
        mode: ``'predict'`` or ``'train'``.
        precision: A key of ``PRECISIONS``.
        shape: Height and width of images in pixels.
        images: Of a step.
        objects: Of an image: those found, or in training those that are there.
        seconds: Of each round.
        parts: Likewise, of each part of ``PARTS``.
        disturbed: Seconds of each round beside busy processes.
        peak_mib: Peak memory less what imports take; None if that was not measured.
    """

    model: str
    mode: Mode
    precision: str
    shape: tuple[int, int]
    images: int
    objects: int
    seconds: list[float]
    parts: dict[str, list[float]]
    disturbed: list[float] = field(default_factory=list)
    peak_mib: float | None = None
