"""Pictures of what models see and find, and of how they train."""

from .embedding_visualization_hook import EmbeddingVisualizationHook
from .group_curves import draw_groups
from .instance_pictures import InstanceVisualizationHook, LegibleVisualizer
from .prediction_grid import (
    PredictionGridError,
    choose_images,
    draw_prediction_grid,
    load_picture,
)
from .tensorboard_backend import TensorBoardBackend
from .training_curves import (
    TrainingLogError,
    TrainingRun,
    draw_curves,
    last_validation,
    read_run,
)

__all__ = [
    'EmbeddingVisualizationHook',
    'InstanceVisualizationHook',
    'LegibleVisualizer',
    'PredictionGridError',
    'TensorBoardBackend',
    'TrainingLogError',
    'TrainingRun',
    'choose_images',
    'draw_curves',
    'draw_groups',
    'draw_prediction_grid',
    'last_validation',
    'load_picture',
    'read_run',
]
