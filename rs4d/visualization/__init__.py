"""Pictures of what models see and find, and of how they train."""

from .prediction_grid import draw_instances, draw_prediction_grid
from .training_curves import TrainingLogError, TrainingRun, draw_curves, read_run

__all__ = [
    'TrainingLogError',
    'TrainingRun',
    'draw_curves',
    'draw_instances',
    'draw_prediction_grid',
    'read_run',
]
