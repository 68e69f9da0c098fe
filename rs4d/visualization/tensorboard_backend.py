"""Scalars and pictures for TensorBoard."""

import importlib.util

from mmdet.registry import VISBACKENDS
from mmengine.visualization import TensorboardVisBackend

from rs4d.errors import UserError


class TensorBoardMissingError(UserError, ImportError):
    """The package that writes TensorBoard's files is not installed."""


@VISBACKENDS.register_module()
class TensorBoardBackend(TensorboardVisBackend):
    """MMEngine's backend, which says what to install where TensorBoard is missing.

    Args:
        save_dir: Folder of the event files; the runner sets it to the run's ``vis_data``.

    Raises:
        TensorBoardMissingError: There is no package ``tensorboard``.
    """

    def __init__(self, save_dir: str) -> None:
        if importlib.util.find_spec('tensorboard') is None:
            raise TensorBoardMissingError(
                'The config writes scalars and pictures for TensorBoard (TensorBoardBackend in '
                'visualizer.vis_backends), and the package tensorboard is not installed. Install it '
                "with 'pip install tensorboard', or take the backend out of the config; the scalars "
                'are also in vis_data/scalars.json, which tools/analysis_tools/plot_log.py draws.'
            )
        super().__init__(save_dir)
