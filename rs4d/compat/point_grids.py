"""Grids of points without the warning that PyTorch gives where MMDetection asks for them.

PyTorch wants to be told in which order a grid is made. MMDetection's heads without anchors do not say
so, and each training and prediction with one would show a warning that its user can do nothing about.
"""

from typing import Any

import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from torch import Tensor


def say_the_order_of_grids() -> None:
    """Patch ``MlvlPointGenerator``; its points stay the same."""
    MlvlPointGenerator._meshgrid = _meshgrid


def _meshgrid(self: Any, x: Tensor, y: Tensor, row_major: bool = True) -> tuple[Tensor, Tensor]:
    rows, columns = (part.reshape(-1) for part in torch.meshgrid(y, x, indexing='ij'))
    return (columns, rows) if row_major else (rows, columns)
