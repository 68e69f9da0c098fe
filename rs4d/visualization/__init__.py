"""Pictures of what models see and find, and of how they train."""

from .distillation_picture import draw_distillation, error_map
from .distillation_view import DistillationView, view_distillation
from .embedding_colours import EmbeddingColours
from .embedding_visualization_hook import EmbeddingVisualizationHook, VisualizationError
from .instance_visualization_hook import InstanceVisualizationHook
from .legible_visualizer import LegibleVisualizer
from .prediction_grid import (
    PredictionGridError,
    choose_images,
    draw_instances,
    draw_prediction_grid,
)
from .tensorboard_backend import TensorBoardBackend
from .training_curves import TrainingLogError, TrainingRun, draw_curves, read_run

__all__ = [
    'DistillationView',
    'EmbeddingColours',
    'EmbeddingVisualizationHook',
    'InstanceVisualizationHook',
    'LegibleVisualizer',
    'PredictionGridError',
    'TensorBoardBackend',
    'TrainingLogError',
    'TrainingRun',
    'VisualizationError',
    'choose_images',
    'draw_curves',
    'draw_distillation',
    'draw_instances',
    'draw_prediction_grid',
    'error_map',
    'read_run',
    'view_distillation',
]
