"""Pictures of what models see and find, and of how they train."""

from .embedding_visualization_hook import EmbeddingVisualizationHook
from .instance_pictures import InstanceVisualizationHook, LegibleVisualizer
from .prediction_grid import PredictionGridError, choose_images, draw_prediction_grid
from .tensorboard_backend import TensorBoardBackend
from .training_curves import TrainingLogError, draw_curves, read_run

__all__ = [
    'EmbeddingVisualizationHook',
    'InstanceVisualizationHook',
    'LegibleVisualizer',
    'PredictionGridError',
    'TensorBoardBackend',
    'TrainingLogError',
    'choose_images',
    'draw_curves',
    'draw_prediction_grid',
    'read_run',
]
