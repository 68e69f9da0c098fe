"""Necks: from the encoder's maps to a feature pyramid."""

from .rs_feature_aggregator import RSFeatureAggregator
from .simple_fpn import SimpleFPN

__all__ = ['RSFeatureAggregator', 'SimpleFPN']
