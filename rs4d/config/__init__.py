"""Reading configs: MMEngine's files, with references from one setting to another."""

from .classes import classes_of_file, dataset_classes
from .data_sets import inner_datasets, is_class_head
from .reading import load_config
from .references import resolve

__all__ = [
    'classes_of_file',
    'dataset_classes',
    'inner_datasets',
    'is_class_head',
    'load_config',
    'resolve',
]
