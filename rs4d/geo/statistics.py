"""Statistics of the bands of rasters that no memory holds, a window at a time."""

import numpy as np

from .stretch import Stretch

SAMPLE_PIXELS = 2**20
"""Of how many pixels percentiles are taken where values have no 16 bits, drawn at random."""


class BandStatistics:
    """Collects values of valid pixels.

    Means and deviations are of all of them. So are percentiles and stretched means of 8 and 16 bits,
    which are counted value by value; of other types they are of a sample.

    Args:
        num_bands: How many bands there are.
        dtype: Of the values.
        sample_pixels: Size of the sample.
        seed: Which pixels are in it.

    Attributes:
        count: How many valid pixels there were.
        mean: Of each band, (C,).
        low: The smallest value of each, (C,).
        high: The largest, (C,).
    """

    def __init__(
        self, num_bands: int, dtype: np.dtype, sample_pixels: int = SAMPLE_PIXELS, seed: int = 0
    ) -> None:
        self.count = 0
        self.mean = np.zeros(num_bands)
        self.low, self.high = np.full(num_bands, np.inf), np.full(num_bands, -np.inf)
        self._squares = np.zeros(num_bands)
        self._counted: np.ndarray | None = None
        if dtype.kind in 'iu' and dtype.itemsize <= 2:
            self._offset = int(np.iinfo(dtype).min)
            self._counted = np.zeros((num_bands, 2 ** (8 * dtype.itemsize)), np.int64)
        self._size = sample_pixels
        self._generator = np.random.default_rng(seed)
        self._sample = np.zeros((0, num_bands))
        self._keys = np.zeros(0)

    def update(self, values: np.ndarray, valid: np.ndarray) -> None:
        """Add the pixels of values (H, W, C) where ``valid`` (H, W)."""
        pixels = values[valid]
        if not len(pixels):
            return
        exact = pixels.astype(np.float64)
        # Chan, Golub and LeVeque (1983): sums of squares around means of parts.
        mean, total = exact.mean(axis=0), self.count + len(exact)
        squares = np.square(exact - mean).sum(axis=0)
        shift = mean - self.mean
        self._squares += squares + shift**2 * (self.count * len(exact) / total)
        self.mean += shift * (len(exact) / total)
        self.count = total
        self.low = np.minimum(self.low, exact.min(axis=0))
        self.high = np.maximum(self.high, exact.max(axis=0))
        if self._counted is not None:
            for band, counted in enumerate(self._counted):
                found = np.bincount(pixels[:, band].astype(np.int64) - self._offset)
                counted[: len(found)] += found
            return
        # Those with the smallest of random numbers are a random choice of all so far.
        keys = np.concatenate([self._keys, self._generator.random(len(exact))])
        chosen: np.ndarray = np.arange(len(keys))
        if len(keys) > self._size:
            chosen = np.sort(np.argpartition(keys, self._size)[: self._size])
        old = chosen[chosen < len(self._sample)]
        new = chosen[len(old) :] - len(self._sample)
        self._sample = np.concatenate([self._sample[old], exact[new]])
        self._keys = keys[chosen]

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each band, (C,)."""
        return np.sqrt(self._squares / max(self.count, 1))

    def percentiles(self, percentages: np.ndarray | list[float]) -> np.ndarray:
        """Percentiles of each band, (P, C); the value below or at which a share of the pixels is."""
        if self._counted is None:
            return np.percentile(self._sample, percentages, axis=0)
        shares = np.asarray(percentages) / 100
        found = []
        for counted in self._counted:
            # As numpy.percentile, between the two values at a fractional rank.
            ranks = shares * (self.count - 1)
            ends = np.cumsum(counted)
            below = np.searchsorted(ends, np.floor(ranks), side='right')
            above = np.searchsorted(ends, np.ceil(ranks), side='right')
            found.append(below + (above - below) * (ranks % 1) + self._offset)
        return np.stack(found, axis=1)

    def stretched(self, stretch: Stretch) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each band behind a stretch, (C,) each."""
        if self._counted is None:
            values = stretch(self._sample[None])[0].astype(np.float64)
            return values.mean(axis=0), values.std(axis=0)
        steps = np.arange(self._counted.shape[1], dtype=np.float64) + self._offset
        values = stretch(steps[None, :, None].repeat(len(self._counted), 2))[0].T.astype(np.float64)
        shares = self._counted / self.count
        mean = (shares * values).sum(axis=1)
        return mean, np.sqrt((shares * np.square(values - mean[:, None])).sum(axis=1))
