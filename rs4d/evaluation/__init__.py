"""Metrics: COCO's on files as they are, what it is made of, and agreement with a teacher; test files."""

from .average_precision import (
    RECALLS,
    Interval,
    average_precision,
    bootstrap,
    interval,
    mean_over_classes,
    precision_curve,
    resample,
)
from .confusion import ImageCounts, confusion_table, count_by_image
from .error_types import ERRORS, ErrorCost, split_errors
from .feature_agreement import FeatureAgreement
from .instance_metric import InstanceMetric
from .matching import AREAS, OVERLAPS, ClassMatches, ImageMatches, Kind, Matches, match
from .recorded_test import METRICS, RecordedTest, RecordedTestError, find_test, read_test
from .results_file import ResultsFile, ResultsFileError, read_results, write_results_of
from .score_thresholds import OperatingPoint, ThresholdCurve, threshold_curve

__all__ = [
    'AREAS',
    'ERRORS',
    'METRICS',
    'OVERLAPS',
    'RECALLS',
    'ClassMatches',
    'ErrorCost',
    'FeatureAgreement',
    'ImageCounts',
    'ImageMatches',
    'InstanceMetric',
    'Interval',
    'Kind',
    'Matches',
    'OperatingPoint',
    'RecordedTest',
    'RecordedTestError',
    'ResultsFile',
    'ResultsFileError',
    'ThresholdCurve',
    'average_precision',
    'bootstrap',
    'confusion_table',
    'count_by_image',
    'find_test',
    'interval',
    'match',
    'mean_over_classes',
    'precision_curve',
    'read_results',
    'read_test',
    'resample',
    'split_errors',
    'threshold_curve',
    'write_results_of',
]
