"""How well a student's features agree with its teacher's on held-out images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from rs4d.errors import ConfigError


@METRICS.register_module()
class FeatureAgreement(BaseMetric):
    """Average the figures that a distiller's ``predict`` gives for each image.

    Reported are ``agreement/normalised_l1``, the sum of absolute differences over the sum of the
    teacher's absolute values (0 is equal; lower is better), and ``agreement/cosine``, the mean
    cosine similarity of the cells' channel vectors (1 is equal; higher is better). Every image
    counts the same. Arguments are those of :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = 'agreement'

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep ``normalised_l1`` and ``cosine`` of each image.

        Raises:
            ConfigError: If a sample lacks them: the model is no distiller.
        """
        for sample in data_samples:
            if 'normalised_l1' not in sample or 'cosine' not in sample:
                raise ConfigError(
                    'FeatureAgreement needs normalised_l1 and cosine for each image, but the model '
                    f'predicted {sorted(sample)}. Use it as the evaluator of a FeatureDistiller.'
                )
            self.results.append((float(sample['normalised_l1']), float(sample['cosine'])))

    def compute_metrics(self, results: list[tuple[float, float]]) -> dict[str, float]:
        """Average both over images."""
        error, cosine = np.mean(results, axis=0)
        return dict(normalised_l1=float(error), cosine=float(cosine))
