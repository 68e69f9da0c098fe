"""What users import: reading a config, training it and testing it."""

from rs4d.config import load_config

from .testing import test
from .training import accumulate_gradients, train

__all__ = ['accumulate_gradients', 'load_config', 'test', 'train']
