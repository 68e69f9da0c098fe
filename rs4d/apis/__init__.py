"""What users import: reading a config, training it, testing it and predicting; published encoders."""

from rs4d.checkpoints import trained_classes
from rs4d.config import load_config
from rs4d.inference import Instances, Predictor

from .encoders import load_encoder
from .testing import test
from .training import accumulate_gradients, train

__all__ = [
    'Instances',
    'Predictor',
    'accumulate_gradients',
    'load_config',
    'load_encoder',
    'test',
    'train',
    'trained_classes',
]
