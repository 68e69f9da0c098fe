"""Pictures of what models see and find."""

from .prediction_grid import draw_instances, draw_prediction_grid

__all__ = ['draw_instances', 'draw_prediction_grid']
