"""Metrics: COCO's on files as they are, and agreement with a teacher."""

from .feature_agreement import FeatureAgreement
from .instance_metric import InstanceMetric

__all__ = ['FeatureAgreement', 'InstanceMetric']
