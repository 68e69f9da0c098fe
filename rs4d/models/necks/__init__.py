"""Necks: from the encoder's maps to a feature pyramid."""

from .light_fpn import LightFPN
from .rs_feature_aggregator import RSFeatureAggregator
from .simple_fpn import SimpleFPN

__all__ = ['LightFPN', 'RSFeatureAggregator', 'SimpleFPN']
