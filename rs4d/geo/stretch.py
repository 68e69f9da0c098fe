"""Stretches: from the values of a raster to the 0 to 255 in which images are given to a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rs4d.errors import ConfigError

from .raster import Raster

WHITE = 255.0
SAMPLE_PIXELS = 2**22
"""Of how many pixels of a raster percentiles are taken; of larger ones every n-th row and column."""
Numbers = float | Sequence[float]


class Stretch:
    """A map from values (H, W, C) to float32 in 0 to 255, a pixel at a time, monotonic in each band.

    It does not round, so that 16 bits and more are not lost. Where `needs_raster` is False it is the
    same for every raster, and so what a config should state.
    """

    needs_raster = False

    def __call__(
        self, values: np.ndarray, valid: np.ndarray | None = None, fill: Numbers = 0.0
    ) -> np.ndarray:
        """Stretch values.

        Args:
            values: (H, W, C).
            valid: (H, W) bool; None for all.
            fill: What invalid pixels become, one number or one a band.

        Returns:
            (H, W, C) float32, 0 to 255 where valid.
        """
        single = values.dtype.itemsize <= 2 or values.dtype == np.float32
        with np.errstate(invalid='ignore', over='ignore'):
            stretched = self._map(values.astype(np.float32 if single else np.float64))
            np.clip(stretched, 0, WHITE, out=stretched)
            stretched = stretched.astype(np.float32, copy=False)
        if valid is not None and not valid.all():
            stretched[~valid] = np.asarray(fill, np.float32)
        return stretched

    def for_raster(self, raster: Raster, bands: Sequence[int] | None = None) -> 'Stretch':
        """The stretch for one raster and bands of it, the same for all of its windows."""
        return self

    def _map(self, values: np.ndarray) -> np.ndarray:
        """Map floating-point values (H, W, C), which may be changed, to about 0 to 255."""
        raise NotImplementedError


class Linear(Stretch):
    """From ``low``, black, to ``high``, white; each one number or one a band.

    Raises:
        ConfigError: ``high`` is not above ``low``.
    """

    def __init__(self, low: Numbers = 0.0, high: Numbers = WHITE) -> None:
        self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if not (self.high > self.low).all():
            raise ConfigError(f'stretch: high={high} should be above low={low}, in every band.')

    def _map(self, values: np.ndarray) -> np.ndarray:
        self._require_bands(values)
        values -= self.low.astype(values.dtype)
        values *= (WHITE / (self.high - self.low)).astype(values.dtype)
        return values

    def _require_bands(self, values: np.ndarray) -> None:
        for limits in (self.low, self.high):
            if limits.size not in (1, values.shape[-1]):
                raise ConfigError(
                    f'stretch: there are {limits.size} limits for {values.shape[-1]} bands. Give one '
                    'number, or one for each band.'
                )


class Decibel(Linear):
    """Radar's: linear in decibels, ``10 log10`` of a power or ``20 log10`` of an amplitude.

    What is 0 or below is black.

    Args:
        low: Black, in dB.
        high: White, in dB.
        amplitude: Whether values are amplitudes and not powers.
    """

    def __init__(self, low: Numbers = -25.0, high: Numbers = 5.0, amplitude: bool = False) -> None:
        super().__init__(low, high)
        self._factor = 20 if amplitude else 10

    def _map(self, values: np.ndarray) -> np.ndarray:
        # The smallest positive number, at -379 dB and lower.
        np.maximum(values, np.finfo(np.float32).tiny, out=values)
        np.log10(values, out=values)
        values *= self._factor
        return super()._map(values)


class Statistics(Linear):
    """From ``mean - width * std`` to ``mean + width * std``, by the statistics of a data set.

    Raises:
        ConfigError: ``std`` or ``width`` is not above 0.
    """

    def __init__(self, mean: Numbers, std: Numbers, width: float = 3.0) -> None:
        middle, reach = np.asarray(mean, np.float64), width * np.asarray(std, np.float64)
        if not (reach > 0).all():
            raise ConfigError(f'stretch: std={std} and width={width} should be above 0.')
        super().__init__(middle - reach, middle + reach)  # type: ignore[arg-type]


class Percentile(Stretch):
    """Linear between two percentiles of each raster's own valid values, a band at a time.

    They are taken of the whole raster at a reduced size, so that windows of one raster are alike; tiles
    that lie in files of their own are not, for which `rs4d stats` states limits.

    Args:
        low: Black, in percent.
        high: White, in percent.
        max_pixels: Of how many pixels they are taken.

    Raises:
        ConfigError: They are no percentages, or not in order.
    """

    needs_raster = True

    def __init__(
        self, low: float = 2.0, high: float = 98.0, max_pixels: int = SAMPLE_PIXELS
    ) -> None:
        if not 0 <= low < high <= 100:
            raise ConfigError(f'stretch: 0 <= low={low} < high={high} <= 100 does not hold.')
        self.low, self.high, self.max_pixels = low, high, max_pixels

    def for_raster(self, raster: Raster, bands: Sequence[int] | None = None) -> Linear:
        """Take the percentiles of a raster.

        Raises:
            RasterError: It cannot be read.
        """
        return self.fitted(*raster.read_reduced(self.max_pixels, bands))

    def fitted(self, values: np.ndarray, valid: np.ndarray) -> Linear:
        """Take the percentiles of values (H, W, C) where ``valid`` (H, W)."""
        return Linear(*percentile_limits(values[valid], (self.low, self.high)).tolist())

    def __call__(
        self, values: np.ndarray, valid: np.ndarray | None = None, fill: Numbers = 0.0
    ) -> np.ndarray:
        """Stretch values by percentiles of their own; see :class:`Stretch`."""
        there = np.ones(values.shape[:2], bool) if valid is None else valid
        return self.fitted(values, there)(values, valid, fill)


STRETCHES: dict[str, Callable[..., Stretch]] = dict(
    linear=Linear, percentile=Percentile, db=Decibel, statistics=Statistics
)


def build_stretch(settings: Mapping[str, Any]) -> Stretch:
    """Build a stretch from what a config states, such as ``dict(type='linear', low=0, high=4000)``.

    Raises:
        ConfigError: The type is not one of :data:`STRETCHES`, or its arguments do not fit it.
    """
    arguments = dict(settings)
    # What MMEngine notes beside a type in configs that another package's config goes on from.
    arguments.pop('_scope_', None)
    kind = arguments.pop('type', None)
    if kind not in STRETCHES:
        raise ConfigError(f'stretch: type={kind!r} is none of {", ".join(STRETCHES)}.')
    try:
        return STRETCHES[kind](**arguments)
    except TypeError as error:
        raise ConfigError(f'stretch: {kind} does not take {arguments} ({error}).') from error


def percentile_limits(values: np.ndarray, percentages: Sequence[float]) -> np.ndarray:
    """Percentiles of values (N, C), (P, C), each above the one before; 0 to 255 of none."""
    if not len(values):
        return np.linspace(0, WHITE, len(percentages))[:, None].repeat(values.shape[1], 1)
    limits = np.percentile(values, percentages, axis=0).astype(np.float64)
    for number in range(1, len(limits)):
        # Of a flat band as well: it becomes black.
        least = limits[number - 1] + np.maximum(np.abs(limits[number - 1]), 1) * 1e-6
        limits[number] = np.maximum(limits[number], least)
    return limits
