"""Averages over held-out images, in the place where MMEngine calls them."""

import pytest
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from rs4d.errors import ConfigError


def test_every_image_counts_the_same() -> None:
    evaluator = Evaluator(METRICS.build(dict(type='FeatureAgreement')))
    errors, cosines = torch.rand(2, 5)
    samples = [
        BaseDataElement(normalised_l1=e, cosine=c) for e, c in zip(errors, cosines, strict=True)
    ]
    evaluator.process(samples[:4])
    evaluator.process(samples[4:])
    assert evaluator.evaluate(5) == {
        'agreement/normalised_l1': pytest.approx(errors.mean().item()),
        'agreement/cosine': pytest.approx(cosines.mean().item()),
    }


def test_a_model_that_is_no_distiller() -> None:
    metric = METRICS.build(dict(type='FeatureAgreement'))
    with pytest.raises(ConfigError, match=r'pred_instances.*FeatureDistiller'):
        metric.process(None, [dict(pred_instances=[])])
