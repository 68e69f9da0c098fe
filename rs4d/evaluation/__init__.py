"""Metrics beyond COCO's."""

from .feature_agreement import FeatureAgreement

__all__ = ['FeatureAgreement']
