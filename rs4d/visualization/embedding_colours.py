"""Feature maps as colours: three principal components become red, green and blue."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EmbeddingColours:
    """A palette for feature vectors, fitted on some and applied to any of the same width.

    Attributes:
        mean: What the components are relative to, (C,).
        components: Orthonormal directions of the largest variances, largest first, (3, C); rows of
            zeros where there are fewer. The loading of largest magnitude in a row is positive, so
            that the same vectors always get the same colours.
        low: What becomes 0 in each component, (3,).
        high: What becomes 255, (3,).
    """

    mean: np.ndarray
    components: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, clip: float = 0.02) -> 'EmbeddingColours':
        """Find the components of vectors, and the range that colours have to cover.

        Args:
            vectors: (N, C), N at least 1. Values that are not finite count as zero.
            clip: Share of the vectors at either end of each component that may be saturated.

        Returns:
            The palette.
        """
        vectors = np.nan_to_num(vectors.astype(np.float64), posinf=0, neginf=0)
        mean = vectors.mean(0)
        centred = vectors - mean
        # By the covariance: there are far more cells than channels.
        _, directions = np.linalg.eigh(centred.T @ centred)
        components = np.zeros((3, vectors.shape[1]))
        found = directions.T[::-1][:3]
        components[: len(found)] = found
        largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
        components *= np.where(largest < 0, -1.0, 1.0)
        low, high = np.quantile(centred @ components.T, [clip, 1 - clip], axis=0)
        return cls(mean, components, low, high)

    def paint(self, features: np.ndarray) -> np.ndarray:
        """Colour a feature map.

        Args:
            features: (C, H, W). Values that are not finite count as the mean.

        Returns:
            RGB, (H, W, 3), uint8. A component that did not vary is half bright.
        """
        centred = np.moveaxis(features.astype(np.float64), 0, -1) - self.mean
        projected = np.nan_to_num(centred, posinf=0, neginf=0) @ self.components.T
        span = self.high - self.low
        varies = span > 1e-9 * max(1.0, float(np.abs(self.high).max()))
        share = np.where(varies, (projected - self.low) / np.where(varies, span, 1), 0.5)
        return np.round(255 * share.clip(0, 1)).astype(np.uint8)
