"""Metrics: COCO's on files as they are, and agreement with a teacher; files of predictions."""

from .feature_agreement import FeatureAgreement
from .instance_metric import InstanceMetric
from .results_file import ResultsFile, ResultsFileError, read_results, write_results_of

__all__ = [
    'FeatureAgreement',
    'InstanceMetric',
    'ResultsFile',
    'ResultsFileError',
    'read_results',
    'write_results_of',
]
